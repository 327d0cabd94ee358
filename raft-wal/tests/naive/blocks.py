"""The blocks of a log as docs/FORMAT.md draws them: sections 1 to 5 and 9 of the page."""

import struct
import zlib
from types import SimpleNamespace

PAGE = 4096
FIRST_FRAME = 12288
SMALL_MAX = 65536
CAPACITY_MAX = 8589934592
BATCH_SEQ_MAX = 9223372036854775807
CONTROLS_MAX = 4096
NO_INDEX = 2**64 - 1

SEG_START, TRUNC, RESET, SEAL, PAD, CARRY = 1, 2, 4, 8, 16, 32
CLEAN = 1

KINDS = ["Normal", "ConfChange", "ConfChangeV2", "App3", "App4", "App5", "State", "Snap", "Base",
         "Truncate", "Reset", "Compact", "Metadata", "Blob", "Seal", "Escape"]
ENTRY_KINDS = range(6)
# Section 5: the order of control records in a frame.
ORDER = ["Base", "Metadata", "Blob", "Compact", "Snap", "Reset", "Truncate", "State", "Seal"]


class Verdict(Exception):
    """Why a log is refused: `damage`, `unsupported` or `foreign`; the file, unless entries are gone
    with theirs; the place, if it is a bad frame's."""

    def __init__(self, verdict, file, why, at=None):
        super().__init__(why)
        self.line = {"verdict": verdict, "file": file, "at": at}


class Invalid(Exception):
    """There is no valid frame here."""


class Newer(Exception):
    """There is a frame here that needs a newer reader."""


class Table:
    """A table of the page: `<type> <name>` a field, a type of `struct`; reserved ones unnamed."""

    def __init__(self, size, text):
        fields = [f.split() for f in text.split(",")]
        self.struct = struct.Struct("<" + "".join(f[0] for f in fields))
        self.names = [f[1] for f in fields if len(f) == 2]
        assert self.struct.size == size, (self.struct.size, text)

    def read(self, data, at=0):
        return SimpleNamespace(**dict(zip(self.names, self.struct.unpack_from(data, at))))


IDENTITY = Table(128, "8s magic, H version, 2x, I compat, I incompat, 4x, 16s wal_uuid,"
                      "Q cluster_id, Q node_id, Q created_ms, 60x, I crc")
HEAD_SLOT = Table(64, "Q slot_no, Q start_seq, Q live_seq, Q proven_seq, Q era, Q nonce,"
                      "8s uuid_half, 4x, I crc")
SEGMENT_HEADER = Table(128, "8s magic, H version, 2x, I compat, I incompat, I salt, 16s wal_uuid,"
                            "Q seq, Q capacity, Q created_ms, Q align, Q era, Q era_nonce, 36x,"
                            "I crc")
MARK = Table(256, "128s header, Q mark_no, Q durable_to, Q batch_seq, I chain, I flags,"
                  "Q state_off, Q term, Q vote, 68x, I crc")
FRAME_HEADER = Table(48, "I body_len, I n_entries, Q batch_seq, Q durable_to, Q first_index,"
                         "I chain, I body_crc, H flags, B codec, B stream, I header_crc")
BASE = Table(136, "Q prev_segment, I prev_salt, I prev_chain, Q prev_batch_seq, Q prev_end,"
                  "Q first_index, Q base_term, Q next_index, Q last_term, Q floor_seq, Q era,"
                  "Q nonce, Q carried, Q disc_segment, Q disc_from, Q disc_len, I disc_crc,"
                  "B reason, B has_base, 10x")
COMPACT = Table(25, "Q first_index, Q base_term, B has_base, Q floor_seq")
SNAP = Table(60, "Q index, Q term, Q file_len, 32s file_hash, I conf_len")
RESET_TABLE = Table(17, "Q first_index, Q base_term, B has_base")
TRUNCATE = Table(8, "Q from_index")
STATE = Table(24, "Q term, Q vote, Q commit")
SEAL_TABLE = Table(12, "Q next_segment, I next_salt")
INDEX_HEAD = Table(128, "8s magic, H version, 2x, I salt, 8x, 16s wal_uuid, Q seq, I cut_chain,"
                        "I flags, Q cut_batch_seq, Q cut_end, Q first, Q n, Q low, I runs,"
                        "I tables_crc, 20x, I crc")


def crc32(data, seed):
    return zlib.crc32(data, seed & 0xFFFFFFFF)


def round8(x):
    return (x + 7) // 8 * 8


def checked(block, seed):
    """Whether the last four bytes of a block are its checksum."""
    return crc32(block[:-4], seed) == int.from_bytes(block[-4:], "little")


def show(thing):
    """The fields of a table as JSON takes them."""
    fields = vars(thing).items()
    return {k: v.hex() if isinstance(v, bytes) else v for k, v in fields}


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except FileNotFoundError:
        return None


# --- 3. IDENT -------------------------------------------------------------------------------------

def read_ident(data):
    copies = [data[p * PAGE:p * PAGE + 128] for p in (0, 1)]
    copies = [c for c in copies if len(c) == 128 and c[:8] == b"RFTIDENT" and checked(c, 0)]
    identities = [IDENTITY.read(c) for c in copies]
    if any(i.version != 1 or i.incompat for i in identities):
        raise Verdict("unsupported", "IDENT", "another version")
    if not copies:
        raise Verdict("damage", "IDENT", "no valid copy of the identity")
    if len(set(copies)) > 1:
        raise Verdict("damage", "IDENT", "two identities")
    identity = identities[0]
    slots = []
    for page in (2, 3):
        block = data[page * PAGE:page * PAGE + 64]
        if len(block) == 64 and checked(block, page):
            slot = HEAD_SLOT.read(block)
            if slot.uuid_half == identity.wal_uuid[:8] and 1 <= slot.slot_no < 2**63:
                slots.append(slot)
    return identity, max(slots, key=lambda s: s.slot_no, default=None)


# --- 5. Control records ---------------------------------------------------------------------------

def optional(has, term):
    if has > 1 or (not has and term):
        raise Invalid("optional term")
    return term if has else None


def exact(table, data):
    if len(data) != table.struct.size:
        raise Invalid("length of a control record")
    return table.read(data)


def control(kind, data):
    """The fields of a well-formed control record."""
    if kind == "Base":
        r = exact(BASE, data)
        if not r.prev_segment and (r.prev_batch_seq or r.prev_chain or r.prev_end):
            raise Invalid("Base without a predecessor")
        if r.next_index < r.first_index or r.reason > 3:
            raise Invalid("Base")
    elif kind == "Metadata":
        if len(data) > SMALL_MAX:
            raise Invalid("Metadata")
        return SimpleNamespace(data=data)
    elif kind == "Blob":
        if not data or not data[0] or 1 + data[0] > len(data) or len(data) > SMALL_MAX:
            raise Invalid("Blob")
        return SimpleNamespace(key=data[1:1 + data[0]], value=data[1 + data[0]:])
    elif kind == "Compact":
        r = exact(COMPACT, data)
    elif kind == "Snap":
        if len(data) < 60:
            raise Invalid("Snap")
        r = SNAP.read(data)
        if r.conf_len > SMALL_MAX or 60 + r.conf_len != len(data):
            raise Invalid("Snap")
        r.conf_state = data[60:]
    elif kind == "Reset":
        r = exact(RESET_TABLE, data)
    else:
        r = exact({"Truncate": TRUNCATE, "State": STATE, "Seal": SEAL_TABLE}[kind], data)
    if hasattr(r, "has_base"):
        r.base_term = optional(r.has_base, r.base_term)
        del r.has_base
    return r


# --- 4. Segments ----------------------------------------------------------------------------------

class Segment:
    """One file: its bytes, its header by majority, its marks, and the frames that stand in it."""

    def __init__(self, seq, data):
        self.seq, self.data, self.name = seq, data, f"wal/{seq:020}.seg"
        self.problem = None
        self.marks, self.frames, self.p, self.why, self.newer = [], [], FIRST_FRAME, None, False
        try:
            self.read_header()
        except Verdict as v:
            self.problem = v
            return
        self.limit = min(len(data), self.header.capacity)
        self.scan()

    def read_header(self):
        copies = []
        for page in (0, 1, 2):
            block = self.data[page * PAGE:page * PAGE + (256 if page else 128)]
            raw = block[:128]
            if len(raw) < 128 or raw[:8] != b"RFTWAL\x00\x01" or not checked(raw, 0):
                continue
            copy = SEGMENT_HEADER.read(raw)
            if copy.version != 1 or copy.incompat:
                if page == 0:
                    raise Verdict("unsupported", self.name, "another version")
                continue
            if copy.align not in (1, 512, 4096) or copy.capacity > CAPACITY_MAX:
                continue
            if page:
                mark = MARK.read(block) if len(block) == 256 else None
                if not mark or not checked(block, copy.salt ^ page) or mark.flags & ~CLEAN:
                    continue
                self.marks.append(mark)
            copies.append(raw)
        shared = [c for c in copies if len(set(copies)) == 1 or copies.count(c) == 2]
        if not shared:
            raise self.bad("no header, or two")
        self.header = SEGMENT_HEADER.read(shared[0])
        self.marks = [m for m in self.marks if m.header == shared[0]]

    def bad(self, why, at=None):
        return Verdict("damage", self.name, why, at)

    def base(self):
        """The Base record of the first frame."""
        return self.frames[0].records[0].fields

    def started(self):
        """Whether the first frame is valid and of the era that made the file."""
        return bool(self.frames) and self.base().era == self.header.era

    def scan(self):
        before = None
        try:
            while before is None or not before.flags & SEAL:
                before = self.frame(self.p, before)
                self.frames.append(before)
                self.p = before.end
        except Invalid as e:
            self.why = str(e)
        except Newer as e:
            self.why, self.newer = str(e), True

    def frame_header(self, at):
        """Rule 1."""
        if at + 48 > self.limit:
            raise Invalid("end of the segment")
        f = FRAME_HEADER.read(self.data, at)
        if not checked(self.data[at:at + 48], self.header.salt ^ (at // 8)):
            raise Invalid("header_crc")
        if not 1 <= f.batch_seq <= BATCH_SEQ_MAX:
            raise Invalid("batch_seq")
        if f.flags >= 64 or f.body_len % 8:
            raise Invalid("unknown flag or odd length")
        if f.n_entries > f.body_len // 16 or f.durable_to > at:
            raise Invalid("n_entries or durable_to")
        return f

    def frame(self, at, before):
        """The valid frame at an offset, by all five rules."""
        f = self.frame_header(at)
        f.offset, f.end, f.records = at, at + 48 + f.body_len, []
        if before and (f.batch_seq, f.chain) != (before.batch_seq + 1, before.header_crc):
            raise Invalid("not the next batch")
        if f.codec or f.stream:
            raise Newer("codec or stream")
        if f.end > self.limit:
            raise Invalid("body beyond the segment")
        if bool(f.flags & SEG_START) != (at == FIRST_FRAME):
            raise Invalid("SEG_START")
        sums = b""
        if f.flags & PAD:
            if f.flags != PAD or f.n_entries or any(self.data[at + 48:f.end]):
                raise Invalid("padding")
        else:
            sums = self.records(f)
            self.rule_5(f)
        if crc32(sums, self.header.salt ^ (at // 8)) != f.body_crc:
            raise Invalid("body_crc")
        if before is None:
            base = f.records[0].fields
            if (f.batch_seq, f.chain) != (base.prev_batch_seq + 1, base.prev_chain):
                raise Invalid("not the batch after the Base")
        return f

    def records(self, f):
        """Rule 4: the records of a frame. Gives their checksums, one after another."""
        at, sums, entries = f.offset + 48, b"", 0
        while at < f.end:
            if f.end - at < 16:
                raise Invalid("a rest")
            term, len_kind = struct.unpack_from("<QI", self.data, at)
            length, kind = len_kind >> 4, len_kind & 15
            size = round8(16 + length)
            if size > f.end - at:
                raise Invalid("record beyond the frame")
            block = self.data[at:at + size]
            index = None
            if kind not in ENTRY_KINDS and (entries or length > SMALL_MAX + 64):
                raise Invalid("control record after an entry, or too long")
            if kind in ENTRY_KINDS:
                index = f.first_index + entries
                entries += 1
                seed = self.header.salt ^ (index & 0xFFFFFFFF) ^ (index >> 32)
            else:
                seed = self.header.salt ^ (~len(f.records) & 0xFFFFFFFF)
            if not checked(block, seed):
                raise Invalid(f"checksum of the record at {at}")
            if KINDS[kind] == "Escape":
                raise Newer("Escape")
            record = SimpleNamespace(offset=at, kind=KINDS[kind], term=term, index=index,
                                     data=block[12:12 + length])
            f.records.append(record)
            sums += block[-4:]
            at += size
        return sums

    def rule_5(self, f):
        controls = [r for r in f.records if r.index is None]
        if len(f.records) - len(controls) != f.n_entries:
            raise Invalid("n_entries")
        if f.first_index + f.n_entries > NO_INDEX:
            raise Invalid("index beyond the last")
        if len(controls) > CONTROLS_MAX:
            raise Invalid("too many control records")
        ranks = [ORDER.index(r.kind) for r in controls]
        twice = [a for a, b in zip(ranks, ranks[1:]) if a == b and ORDER[a] != "Blob"]
        if ranks != sorted(ranks) or twice:
            raise Invalid("order of control records")
        for r in controls:
            r.fields = control(r.kind, r.data)
        kinds = [r.kind for r in controls]
        for flag, kind in [(SEG_START, "Base"), (TRUNC, "Truncate"), (RESET, "Reset"),
                           (SEAL, "Seal")]:
            if bool(f.flags & flag) != (kind in kinds):
                raise Invalid(f"flag of {kind}")
        if "Seal" in kinds and len(f.records) > 1:
            raise Invalid("Seal is not alone")
        if f.flags & CARRY and not f.flags & SEG_START:
            raise Invalid("CARRY")

    def promise_above(self, p, expected=None):
        """Section 7: the highest promise above `p`, by marks and by look-ahead; 0 none."""
        found = max([m.durable_to for m in self.marks], default=0)
        for at in range(p, self.limit - 47, 8):
            batch_seq, durable_to = struct.unpack_from("<QQ", self.data, at + 8)
            if not p < durable_to <= at or batch_seq == 0:
                continue
            if expected is not None:
                if not expected < batch_seq <= expected + (at - p) // 48 + 1:
                    continue
            body_len = struct.unpack_from("<I", self.data, at)[0]
            if body_len > self.limit - at:
                continue
            try:
                found = max(found, self.frame_header(at).durable_to)
            except Invalid:
                pass
        return found if found > p else 0


# --- 9. Index files -------------------------------------------------------------------------------

def index_file(file, seg, frames, base):
    """How much of an index file is that of a segment cut where its successor's Base says: `fits`,
    only the `head`, or `nothing`."""
    if len(file) < 128 or not checked(file[:128], 0):
        return "nothing"
    head = vars(INDEX_HEAD.read(file))
    entries, low, reset, end = {}, NO_INDEX, 0, seg.base().next_index
    for r in (r for f in frames for r in f.records):
        if r.kind == "Reset":
            entries, reset, end = {}, 1, r.fields.first_index
            low = min(low, end)
        elif r.kind == "Truncate":
            end = r.fields.from_index
            entries = {i: e for i, e in entries.items() if i < end}
            low = min(low, end)
        elif r.index is not None:
            entries[r.index], low, end = r, min(low, r.index), r.index + 1
    runs = [(i, e.term) for i, e in entries.items()
            if i - 1 not in entries or entries[i - 1].term != e.term]
    tables = b"".join(struct.pack("<I", e.offset // 8) for e in entries.values())
    tables += bytes(round8(len(tables)) - len(tables))
    tables += b"".join(struct.pack("<QQ", *run) for run in runs)
    expected = {
        "magic": b"RFTINDEX", "version": 1, "salt": seg.header.salt,
        "wal_uuid": seg.header.wal_uuid, "seq": seg.seq, "cut_chain": base.prev_chain,
        "flags": reset, "cut_batch_seq": base.prev_batch_seq, "cut_end": base.prev_end,
        "first": min(entries, default=end), "n": len(entries), "low": low, "runs": len(runs),
        "tables_crc": crc32(tables, seg.header.salt)}
    if any(head[k] != v for k, v in expected.items()):
        return "nothing"
    return "fits" if file[128:] == tables else "head"
