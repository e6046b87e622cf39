"""What the summary page says, in the languages it can be set in.

Sentences that the analysis writes (warnings) stay in English; everything that the page says by itself is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from longitudinal.types import Region, Response


class Language(StrEnum):
    """Languages of the summary page (ISO 639-1)."""

    ENGLISH = "en"
    GERMAN = "de"
    FRENCH = "fr"
    JAPANESE = "ja"


@dataclass(frozen=True)
class Words:
    """The texts of the page in one language. `decimal` is the decimal sign."""

    title: str
    not_verified: str
    preliminary: str
    forecast_banner: str
    whole: str
    regions: dict[Region, str]
    responses: dict[Response, str]
    volume_axis: str
    days_axis: str
    measured: str
    forecast: str
    interval: str
    no_forecast: str
    date: str
    volume: str
    from_baseline: str
    from_nadir: str
    response: str
    lesions: str
    imaging_only: str
    software: str
    no_lesion: str
    decimal: str = "."

    def number(self, value: float, decimals: int = 1, sign: bool = False) -> str:
        """A number as it is written in the language; the minus is U+2212."""
        text = f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"
        return text.replace("-", "−").replace(".", self.decimal)


_ENGLISH = Words(
    title="Brain tumour follow-up",
    not_verified="AI RESULT - NOT VERIFIED",
    preliminary="PRELIMINARY",
    forecast_banner="Forecast: a model's estimate, not a measurement",
    whole="whole tumour",
    regions={
        Region.WHOLE: "whole tumour",
        Region.CORE: "tumour core",
        Region.ENHANCING: "enhancing tumour",
        Region.OEDEMA: "oedema",
    },
    responses={
        Response.BASELINE: "baseline",
        Response.COMPLETE: "complete response",
        Response.PARTIAL: "partial response",
        Response.STABLE: "stable disease",
        Response.PROGRESSIVE: "progressive disease",
        Response.NOT_EVALUABLE: "not evaluable",
    },
    volume_axis="Volume, all lesions (ml)",
    days_axis="Days from baseline",
    measured="measured, 95 % limits of repeat measurement",
    forecast="forecast (median)",
    interval="{coverage} % interval of the forecast",
    no_forecast="No forecast",
    date="Date",
    volume="Volume (ml)",
    from_baseline="vs baseline",
    from_nadir="vs nadir",
    response="Response",
    lesions="Lesions of this study",
    imaging_only="Response from volumes alone; steroids, clinical status and confirmation are not known to it.",
    software="Software",
    no_lesion="no lesion found",
)

_GERMAN = Words(
    title="Verlauf Hirntumor",
    not_verified="KI-ERGEBNIS - NICHT GEPRÜFT",
    preliminary="VORLÄUFIG",
    forecast_banner="Prognose: Schätzung eines Modells, keine Messung",
    whole="Gesamttumor",
    regions={
        Region.WHOLE: "Gesamttumor",
        Region.CORE: "Tumorkern",
        Region.ENHANCING: "anreichernder Tumor",
        Region.OEDEMA: "Ödem",
    },
    responses={
        Response.BASELINE: "Ausgangsbefund",
        Response.COMPLETE: "komplettes Ansprechen",
        Response.PARTIAL: "partielles Ansprechen",
        Response.STABLE: "stabil",
        Response.PROGRESSIVE: "Progress",
        Response.NOT_EVALUABLE: "nicht beurteilbar",
    },
    volume_axis="Volumen aller Läsionen (ml)",
    days_axis="Tage seit Ausgangsbefund",
    measured="gemessen, 95-%-Grenzen der Wiederholungsmessung",
    forecast="Prognose (Median)",
    interval="{coverage}-%-Intervall der Prognose",
    no_forecast="Keine Prognose",
    date="Datum",
    volume="Volumen (ml)",
    from_baseline="ggü. Ausgang",
    from_nadir="ggü. Nadir",
    response="Ansprechen",
    lesions="Läsionen dieser Untersuchung",
    imaging_only="Ansprechen nur aus Volumina; Steroide, klinischer Zustand und Bestätigung sind nicht bekannt.",
    software="Software",
    no_lesion="keine Läsion gefunden",
    decimal=",",
)

_FRENCH = Words(
    title="Suivi de tumeur cérébrale",
    not_verified="RÉSULTAT D'IA - NON VÉRIFIÉ",
    preliminary="PRÉLIMINAIRE",
    forecast_banner="Prévision : estimation d'un modèle, pas une mesure",
    whole="tumeur entière",
    regions={
        Region.WHOLE: "tumeur entière",
        Region.CORE: "noyau tumoral",
        Region.ENHANCING: "tumeur rehaussée",
        Region.OEDEMA: "œdème",
    },
    responses={
        Response.BASELINE: "examen initial",
        Response.COMPLETE: "réponse complète",
        Response.PARTIAL: "réponse partielle",
        Response.STABLE: "maladie stable",
        Response.PROGRESSIVE: "progression",
        Response.NOT_EVALUABLE: "non évaluable",
    },
    volume_axis="Volume de toutes les lésions (ml)",
    days_axis="Jours depuis l'examen initial",
    measured="mesuré, limites à 95 % de mesures répétées",
    forecast="prévision (médiane)",
    interval="intervalle à {coverage} % de la prévision",
    no_forecast="Pas de prévision",
    date="Date",
    volume="Volume (ml)",
    from_baseline="/ initial",
    from_nadir="/ nadir",
    response="Réponse",
    lesions="Lésions de cet examen",
    imaging_only="Réponse d'après les volumes seuls ; corticoïdes, état clinique et confirmation sont inconnus.",
    software="Logiciel",
    no_lesion="aucune lésion trouvée",
    decimal=",",
)

_JAPANESE = Words(
    title="脳腫瘍の経過",
    not_verified="AIによる結果・未検証",
    preliminary="暫定",
    forecast_banner="予測：モデルによる推定であり、測定値ではありません",
    whole="腫瘍全体",
    regions={
        Region.WHOLE: "腫瘍全体",
        Region.CORE: "腫瘍コア",
        Region.ENHANCING: "造影腫瘍",
        Region.OEDEMA: "浮腫",
    },
    responses={
        Response.BASELINE: "ベースライン",
        Response.COMPLETE: "完全奏効",
        Response.PARTIAL: "部分奏効",
        Response.STABLE: "安定",
        Response.PROGRESSIVE: "進行",
        Response.NOT_EVALUABLE: "評価不能",
    },
    volume_axis="全病変の体積 (ml)",
    days_axis="ベースラインからの日数",
    measured="測定値（反復測定の95 %限界）",
    forecast="予測（中央値）",
    interval="予測の{coverage} %区間",
    no_forecast="予測なし",
    date="日付",
    volume="体積 (ml)",
    from_baseline="対ベースライン",
    from_nadir="対最小値",
    response="効果判定",
    lesions="今回の病変",
    imaging_only="効果判定は体積のみによる。ステロイド、臨床状態、確認検査は考慮されていません。",
    software="ソフトウェア",
    no_lesion="病変なし",
)

WORDS: dict[Language, Words] = {
    Language.ENGLISH: _ENGLISH,
    Language.GERMAN: _GERMAN,
    Language.FRENCH: _FRENCH,
    Language.JAPANESE: _JAPANESE,
}
