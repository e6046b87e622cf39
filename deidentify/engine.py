"""Dataset in, dataset and ledger out: the walk over an object under the plan of its SOP class."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID, ImplicitVRLittleEndian

from deidentify import burned_in, charsets, codes, codestreams, content, pixels, private, sop_classes
from deidentify.actions import HANDLERS, Context
from deidentify.elements import Element, ascii_element, bytes_element, tags_of
from deidentify.errors import RefusalCode, Refused
from deidentify.keys import KeyRing
from deidentify.ledger import Ledger, Outcome, Path
from deidentify.parsing import parsing
from deidentify.plan import Plan, Rule, plan_for
from deidentify.profile import Profile
from deidentify.quiet import quiet
from deidentify.rules import Action
from deidentify.stamp import stamp
from deidentify.subject import Subject
from deidentify.tables import EDITION
from deidentify.transcode import output_syntax, to_little_endian

DEEPEST = 24
_UNDEFINED = 0xFFFFFFFF
_CHARACTER_SET, _PIXEL_DATA, _CONTENT = 0x00080005, 0x7FE00010, 0x0040A730


@dataclass(frozen=True)
class Deidentified:
    """What may leave, and its account.

    `dataset` carries `file_meta` with the transfer syntax to write. `original_uids` and `charsets` are what
    `verification.verify_bytes` needs to look for; they belong to the clinical zone, as the subject does.
    """

    dataset: Dataset
    ledger: Ledger
    original_uids: frozenset[str]
    charsets: tuple[str, ...]


@quiet()
@parsing()
def deidentify(ds: Dataset, subject: Subject, keys: KeyRing, profile: Profile) -> Deidentified:
    """De-identify one instance; `ds` is not changed.

    Raises `Refused` with a reason code when the object cannot be handled safely: nothing of it may leave then.
    """
    sop_class = sop_classes.accepted(ds, profile)
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if not str(ds.get(keyword, "")):
            raise Refused(RefusalCode.MISSING_ATTRIBUTE, f"{keyword} is missing or empty")
    terms = charsets.declared(ds)
    examined = burned_in.examine(ds, sop_class, profile)
    source = to_little_endian(ds)
    native = output_syntax(ds)
    syntax = examined.syntax(native) if examined else native
    ledger = Ledger(keys.uid(str(ds.SOPInstanceUID)), sop_class, profile.name, EDITION, keys.key_id)
    context = Context.of(subject, keys, profile, ledger)
    out = _Walk(context, syntax == ImplicitVRLittleEndian).dataset(source, plan_for(sop_class, profile), ())
    if examined is None or examined.data is None:
        _replace_pixels(source, out, syntax, ledger)
    _complete(out, context, profile, keys, syntax)
    if examined is not None:
        examined.apply(out)
        ledger.note((_PIXEL_DATA,), Outcome.CLEANED, f"113101 read for text, {examined.lines} lines painted over")
    return Deidentified(out, ledger, frozenset(context.original_uids), terms)


def _replace_pixels(source: Dataset, out: Dataset, syntax: UID, ledger: Ledger) -> None:
    if _PIXEL_DATA not in out:
        return
    element = out.get_item(_PIXEL_DATA)
    if syntax.is_compressed:
        data = codestreams.clean_frames(element.value, syntax, int(source.get("NumberOfFrames", 1) or 1))
        out[_PIXEL_DATA] = RawDataElement(BaseTag(_PIXEL_DATA), "OB", _UNDEFINED, data, 0, False, True)
        ledger.note((_PIXEL_DATA,), Outcome.CLEANED, "code streams without comments and application data")
        return
    data, note = pixels.clean_native(source, element.value, syntax)
    if data is not element.value:
        out[_PIXEL_DATA] = bytes_element(_PIXEL_DATA, str(element.VR or "OW"), data)
        ledger.note((_PIXEL_DATA,), Outcome.CLEANED, note or "padding normalised")


def _complete(out: Dataset, context: Context, profile: Profile, keys: KeyRing, syntax: UID) -> None:
    """What every object carries, whether it came with it or not."""
    for tag, vr in ((0x00100010, "PN"), (0x00100020, "LO")):
        out[tag] = ascii_element(tag, vr, context.pseudonym)
    stamp(out, profile, keys.key_id)
    out.file_meta = FileMetaDataset()
    out.file_meta.TransferSyntaxUID = syntax
    declared = _CHARACTER_SET in out
    out.set_original_encoding(
        syntax == ImplicitVRLittleEndian, True, convert_encodings("ISO_IR 192") if declared else default_encoding
    )


def _refuse_truncated(element: Element) -> None:
    if isinstance(element, RawDataElement) and element.length not in (_UNDEFINED, len(element.value or b"")):
        raise Refused(RefusalCode.UNREADABLE, "the file ends within an attribute")


class _Walk:
    """Carries what is the same for all items of one object."""

    def __init__(self, context: Context, implicit: bool) -> None:
        self.context = context
        self.implicit = implicit

    def dataset(self, source: Dataset, plan: Plan, path: Path) -> Dataset:
        """A new dataset with what the plan lets through of `source`."""
        if len(path) > DEEPEST:
            raise Refused(RefusalCode.NESTING, f"sequences are nested more than {DEEPEST} deep")
        out = Dataset()
        out.set_original_encoding(self.implicit, True, default_encoding)
        private_tags: list[BaseTag] = []
        for tag in tags_of(source):
            rule = plan.rules.get(tag)
            if rule is not None:
                self._element(source, tag, rule, path, out)
            elif tag.is_private:
                private_tags.append(tag)
            else:
                self.context.ledger.note((*path, tag), Outcome.REMOVED, "not an attribute of the IOD at this path")
        if private_tags:
            self._private(source, private_tags, path, out)
        return out

    def _private(self, source: Dataset, tags: list[BaseTag], path: Path, out: Dataset) -> None:
        context = self.context
        kept = private.retain(source, tags, context.words, out) if context.profile.retain_safe_private else set()
        for tag in tags:
            if tag in kept:
                context.ledger.note((*path, tag), Outcome.KEPT, "113111 Retain Safe Private")
            else:
                context.ledger.note((*path, tag), Outcome.REMOVED, "private")

    def _element(self, source: Dataset, tag: BaseTag, rule: Rule, path: Path, out: Dataset) -> None:
        here = (*path, tag)
        _refuse_truncated(source.get_item(tag))
        if rule.action in (Action.DESCEND, Action.CODE):
            result, outcome = self._sequence(source, tag, rule, here)
        else:
            result, outcome = HANDLERS[rule.action](self.context, source.get_item(tag), rule)
        if result is not None:
            out[tag] = result
        self.context.ledger.note(here, outcome, rule.reason)

    def _sequence(self, source: Dataset, tag: BaseTag, rule: Rule, path: Path) -> tuple[Element | None, Outcome]:
        value = source[tag].value
        children = rule.children
        if not isinstance(value, Sequence) or children is None:
            return HANDLERS[Action.REMOVE](self.context, source.get_item(tag), rule)
        items = [self._item(item, children, rule, path) for item in value]
        if value and not any(len(item) for item in items):
            return HANDLERS[rule.fallback](self.context, source.get_item(tag), rule)
        element = DataElement(tag, "SQ", Sequence(items))
        return element, Outcome.CLEANED if rule.action is Action.CODE else Outcome.KEPT

    def _item(self, item: Dataset, children: Plan, rule: Rule, path: Path) -> Dataset:
        out = self.dataset(item, children, path)
        if rule.action is Action.CODE:
            codes.write(codes.clean(item, self.context.words, self.context.keys.token), out)
        elif path[-1] == _CONTENT:
            content.amend(item, out, self.context)
        return out
