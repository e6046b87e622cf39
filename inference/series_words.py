"""The words of series descriptions, protocols and sequences, in English, German, French, Italian, Spanish and (of
contrast agent only) Portuguese, and in the names that Siemens, GE, Philips and Canon give to sequences. Patterns match
`SeriesHeader.words`: lower case, accents dropped, words parted by single blanks.
"""

from __future__ import annotations

import re
from enum import StrEnum

from longitudinal.types import Contrast


class AgentWord(StrEnum):
    """What the words say about a contrast agent."""

    GIVEN = "given"
    NOT_GIVEN = "not given"
    BOTH = "both"
    EXAMINATION = "with and without in one examination"
    UNCLEAR = "unclear"
    NOTHING = "nothing"


NO_ANATOMY = (
    (
        r"loc|locs|localizer|localiser|lokalisator|localizzatore|localizador|scout\w*|survey\w*|smartbrain|aahscout|"
        r"ubersicht\w*|reperage|centrage|centratura|pilot|topogramm?|plan ?scan|(3|three) ?(plane|pl)( loc)?|"
        r"3 ?ebenen\w*|trufi loc|mobiview",
        "a localizer",
    ),
    (
        r"(ep2d ?)?(dwi\w*|dti\w*|diff\w*|difusion)|e?adc\w*|trace\w*|b ?(0|50|500|800|1000|1500|2000)|tensor\w*|"
        r"resolve|fa map|isodwi|ep b\d+\w*|\*ep b\d+\w*|reg dti|focus dwi|fa (map|col\w*|images?)|colfa|tractogra\w*|"
        r"ivim|dki",
        "diffusion",
    ),
    (
        r"swi\w*|swan|swip\w*|venbold|qsm|susc\w*|suscet\w*|t2 ?\*\w*|t2 ?star\w*|hemo\w*|ham|hamo\w*|heme|emo|medic|"
        r"merge|mip swi|field ?map\w*|gre field mapping|b0 ns|fsbb|"
        r"t2w?( (tra|ax|axial|cor|sag|2d|3d|w))? ?(gre|ge|ffe|fl2d\d?|fl3d\d?|fe|eg|hemosiderin\w*)|t2ffe|t2wffe",
        "T2*",
    ),
    (
        r"mra\w*|mrv\w*|tof\w*|i?angio\w*|pca|3d ?pc|2d ?pc|pc ?3d|venogram|venc\w*|phase contrast|phasenkontrast|"
        r"inhance|mips?|minip|mnip|max ?ip|projection|cemra|tricks|twist|willis|carotid\w*|venous|arterial|fl3d tof",
        "angiography or MIP",
    ),
    (r"perf\w*|pwi|dsc\w*|dce\w*|p?c?asl\w*|cbf|cbv|r?cbf|r?cbv|mtt|ttp|tmax|ktrans|ve map|time to peak|dyn\w*|"
     r"tra dyn\w*|first pass|bolus track\w*|gbp|wash ?(in|out)", "perfusion"),
    (r"bold\w*|fmri\w*|rest ?\d*|resting\w*|task\w*|mosaic\w*|rs fmri", "functional imaging"),
    (r"mrs\w*|spectro\w*|spettro\w*|espectro\w*|csi\w*|svs\w*|press\w*", "spectroscopy"),
    (r"sub|subs|subtract\w*|subtrak\w*|subtraction|soustrac\w*|sottraz\w*|sustrac\w*|substrac\w*", "a subtraction"),
    (r"calib\w*|asset cal\w*|sense ref\w*|ref ?scan|reference scan|b1 ?map\w*|shim\w*|prescan\w*|coil\w* (ref|survey)|"
     r"coilsurvey|autoalign\w*", "a calibration scan"),
    (
        r"\w* ?map|maps|t1rho|mtr|mt on|mt off|mtc|synthetic|synt\w*|magic|screen ?save\w*|report|phoenix\w*|"
        r"t1 images|t2 images|t1map\w*|t2map\w*|mapit\w*|key images?|collage|exported|snapshot|capture\w*|"
        r"dose report|segment\w*|fusion|fused|overlay|navigator\w*|batch\w*",
        "a computed map or page",
    ),
    (r"mp2rage\w* .*inv ?[12]|inv ?[12]|inv[12] (ph|nd)", "one inversion of an MP2RAGE"),
    (
        r"t2 stir|stir\w*|ciss\w*|fiesta\w*|bffe|b ?tfe|btfe|drive cisternogra\w*|cisterno\w*|truefisp|trufi\w*|"
        r"balanced|pd|pdw\w*|proton\w*|dp|densit\w+ proton\w*|pd ?\+? ?t2|dir|psir|3d ?dir|double ir|fgatir|wmn|gmn|"
        r"black ?blood|blackblood|vessel ?wall|mav?ric|fws",
        "a contrast no model is trained on",
    ),
    (r"spine|wirbel\w*|hws|bws|lws|rachis|colonn\w*|columna|cervical|lumb\w+|thora\w+|orbit\w*|iac|cai|kleinhirnbr\w*|"
     r"pituitary|hypoph\w*|ipofisi|hipofisis|sella|abdomen|pelvis|tmj|nasal|neck|hals", "of another region"),
)  # fmt: skip

_START = r"(?:(?<![a-z])|(?<=\dd)|(?<=\bd)|(?<=\be)|(?<=\bs)|(?<=\bw)|(?<=tra)|(?<=sag)|(?<=cor)|(?<=ax))"
_T1 = (
    rf"{_START}t1(?![\d*])|mp ?rage|mp2rage|fspgr|\bir ?spgr\b|spgr|bravo|\bvibe\b|\btfe\b|\bthrive\b|\blava\b|"
    r"\*tfl3d|\btfl3d|turbo ?flash"
)
_T2 = rf"{_START}t2(?![\d*])"
_FLAIR = r"flair|tirm|dark ?fluid|da fl\b|darkfl|\bfla\b|t2f\b|\*spcir|\bspcir"

_AGENT = (
    r"(?:gad\w*|gd|gd dtpa|km|k m|kontrast\w*|contrast\w*|mdc|m d c|civ|iv|inj\w*|agent\w*|cont|c|ce|pdc|"
    r"(?:mezzo|medio|produit|produits?) (?:de |di )?contrast\w*)"
)
_AFTER_CARE = r"(?! ?op\w*| ?rt| ?surg\w*| ?treat\w*| ?chemo\w*| ?rad\w*| ?chir\w*| ?trait\w*| ?trat\w*| ?bestr\w*)"
_WITH_AND_WITHOUT = re.compile(
    rf"\b(?:w(?:ith)? ?(?:and |&)? ?(?:w ?o|wo|without)|wwo|w wo|without and with|wo ?w|mit und ohne|ohne und mit|"
    rf"mit ohne|ohne mit|avec et sans|sans et avec|sans avec|con e senza|senza e con|con y sin|sin y con|"
    rf"com e sem|sem e com|"
    rf"pre post|pre and post|pre e post|pre y post|pre et post|vor und nach)\b(?: {_AGENT}\b)*"
)
"""Names the examination, not the series: an agent was given in it, whether before this series is left open."""
_WITHOUT = re.compile(
    rf"\bminusc\b|\b(?:pre(?! ?op\w*)|precontrast\w*|pregad\w*|nativ\w*|unenhanced|without|w o|wo|no|non|noncon\w*|"
    rf"plain|ohne|vor|sans|senza|sin|sem|basale?(?! gang)|diretta|c0|non enhanced)\b(?: (?:de |di |del )?{_AGENT}\b)*"
)
_WITHOUT_ALONE = re.compile(r"\b(?:no|non|vor|sin|sem)\b(?! (?:de |di |del )?" + _AGENT + r"\b)")
"""Words that deny only what follows them."""
_WITH = re.compile(
    rf"\b(?:post{_AFTER_CARE}|postcontrast\w*|postgad\w*|postkm|postc|gad\w*|gd|contrast\w*|contraste|contrasto|enhanced|enh|km|"
    r"ce|kontrast\w*|with c|w c|w cont|cont|pdc|mit km|nach km|dotarem|clariscan|pro ?hance|multihance|"
    r"omniscan|magnevist|elucirem|"
    r"poscontrast\w*|mdc|m d c|civ|inject\w*|injek\w*|iniez\w*|inyec\w*|inj|apres (?:inj\w*|gado\w*|iv|contraste)|"
    r"tras (?:contraste|gado\w*|civ)|dopo mdc|avec (?:gado\w*|inj\w*|iv)|gado|tardi\w*|delayed)\b"
    r"|\+ ?(?:c|gd|gad\w*|km|contrast\w*|mdc|civ|iv|inj\w*|gado)\b|\b(?:c|iv|gd|km|mdc|gado|civ|k) ?\+|"
    r"t1w?[ _]?(?:c|ce|gd|km|gad|mdc)\b|[a-z]\+c|\bt1w?c\b|\bt1w?gd\b"
)
_UNCLEAR = re.compile(r"\b(?:c(?! ?(?:spine|\+))|pg)\b")
"""A lone "C" or "PG" is contrast agent to some and something else to others."""


def not_anatomy(words: str) -> str | None:
    """What a series is by its name where it is no anatomical image of the brain; None where the name does not say."""
    for pattern, what in NO_ANATOMY:
        if re.search(rf"(?:^| )(?:{pattern})(?= |$)", words):
            return what
    return None


def weighting(words: str) -> Contrast | None:
    """T1 (with or without agent), T2 or FLAIR by name; None where it says none of them or two."""
    t1, t2 = re.search(_T1, words), re.search(_T2, words)
    if re.search(_FLAIR, words):
        # "T1 FLAIR" is a T1 with inversion, "T2 FLAIR" and plain "FLAIR" are fluid-attenuated T2.
        return Contrast.T1 if t1 and not t2 else Contrast.FLAIR
    if t1 and t2:
        return None
    return Contrast.T1 if t1 else Contrast.T2 if t2 else None


def agent_word(words: str) -> AgentWord:
    """Whether the name says that contrast agent was given for this series, was not, both ("T1 without post gad"), only
    that the examination has series of either kind ("T1 w/wo"), or something unclear ("T1 SE C")."""
    left = _WITH_AND_WITHOUT.sub(" ", words)
    denied = _WITHOUT.search(_WITHOUT_ALONE.sub(" ", left)) is not None
    # "non contrast" must not count as "contrast".
    given = _WITH.search(_WITHOUT.sub(" ", left)) is not None
    if denied and given:
        return AgentWord.BOTH
    if denied or given:
        return AgentWord.NOT_GIVEN if denied else AgentWord.GIVEN
    if left != words:
        return AgentWord.EXAMINATION
    return AgentWord.UNCLEAR if _UNCLEAR.search(words) else AgentWord.NOTHING
