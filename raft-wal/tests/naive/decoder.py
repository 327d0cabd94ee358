#!/usr/bin/env python3
"""A reader of logs written from docs/FORMAT.md and nothing else.

    python3 decoder.py DIR...

Prints what each directory holds as JSON, a line a thing: the identity; every segment with its marks
and every frame and record that stands in it; the log that all of it comes to; and last a verdict,
`closed`, `sealed`, `torn` or `empty` for a log that can be read, `damage`, `unsupported`,
`foreign`, `no IDENT` or `no log` for one that is refused. Lines that begin with "info" say more.

It only reads. It is plain and slow on purpose and follows the page section by section, so that the
page can be held against it: `blocks.py` has sections 1 to 5 and 9, this file 6 to 8.
"""

import json
import os
import re
import sys
from types import SimpleNamespace

sys.dont_write_bytecode = True  # The directory belongs to the sources.

from blocks import (CLEAN, FIRST_FRAME, PAGE, RESET, SEAL, Segment, Verdict,  # noqa: E402
                    index_file, read, read_ident, show)


# --- 6. How the log is put together, and 8. What a batch may do -----------------------------------

class Replay:
    """The log as the frames of one segment are applied to it, beginning with its Base."""

    def __init__(self, seg, entries, newest):
        base = seg.base()
        self.seg, self.entries, self.newest = seg, entries, newest
        self.first, self.next = base.first_index, base.next_index
        self.base_term = base.base_term if self.first > 0 else None
        self.last_term, self.floor = base.last_term or None, base.floor_seq
        self.state = SimpleNamespace(term=0, vote=0, commit=0)
        self.marker, self.metadata, self.blobs = None, None, {}

    def term_of(self, index):
        """The term of an index, or None where it is not known."""
        if index < self.first:
            return self.base_term if index == self.first - 1 else None
        if index == self.next - 1 and self.last_term is not None:
            return self.last_term
        return self.entries[index].term if index in self.entries else None

    def apply(self, f):
        self.older = self.marker
        self.frame, self.has_reset = f, bool(f.flags & RESET)
        self.brought = any(r.kind == "Snap" for r in f.records)
        for r in f.records:
            if r.index is None:
                getattr(self, "on_" + r.kind.lower())(r.fields)
            else:
                self.entry(r)
        if self.brought:
            new = self.marker
            self.rule(new.index < self.next, "marker beyond the log")
            self.rule(self.term_of(new.index) in (None, new.term), "marker with another term")
            kept = self.older is None or self.older.index <= new.index
            self.rule(self.has_reset or kept, "older marker")
        self.rule(self.state.commit == 0 or self.state.commit < self.next, "commit beyond the log")

    def rule(self, holds, why):
        """A rule of section 8: only of the newest segment's batches."""
        if self.newest:
            self.step_8(holds, why)

    def step_8(self, holds, why):
        """What entries have to keep in every segment."""
        if not holds:
            raise self.seg.bad(f"the batch at {self.frame.offset} breaks a rule: {why}")

    def on_base(self, _):
        pass

    on_seal = on_base

    def on_metadata(self, r):
        self.metadata = r.data

    def on_blob(self, r):
        self.blobs.pop(r.key, None)
        if r.value:
            self.blobs[r.key] = r.value

    def on_compact(self, r):
        self.rule(self.first <= r.first_index <= self.next, "Compact out of the log")
        self.floor = max(self.floor, r.floor_seq)
        if r.first_index > self.first:
            known = self.term_of(r.first_index - 1)
            self.rule(known in (None, r.base_term), "Compact with another term")
            self.first, self.base_term = r.first_index, r.base_term
            if self.first == self.next:
                self.last_term = self.base_term

    def on_snap(self, r):
        self.marker = r

    def on_reset(self, r):
        self.rule("Truncate" not in [x.kind for x in self.frame.records], "Reset and Truncate")
        self.rule(r.first_index > 0 or r.base_term is None, "Reset to 0 with a term before it")
        self.first = self.next = r.first_index
        self.base_term = self.last_term = r.base_term
        self.floor = max(self.floor, self.seg.seq)
        self.entries.clear()
        if self.marker and not self.brought:
            if self.marker.index >= r.first_index:
                self.marker = None
            elif self.marker.index == r.first_index - 1:
                self.rule(r.base_term in (None, self.marker.term), "Reset with another term")

    def on_truncate(self, r):
        start, commit, marker = r.from_index, self.state.commit, self.older
        self.step_8(start <= self.next, "Truncate beyond the log")
        self.rule(self.first <= start, "Truncate below the log")
        self.rule(commit == 0 or start > commit, "Truncate of what is committed")
        self.rule(not marker or start > marker.index, "Truncate of what the marker covers")
        last_term = self.term_of(start - 1)
        for index in [i for i in self.entries if i >= start]:
            del self.entries[index]
        self.next, self.last_term = start, last_term

    def on_state(self, r):
        old = self.state
        self.rule(r.term >= old.term, "the term falls")
        self.rule(r.term > old.term or old.vote in (0, r.vote), "the vote changes")
        self.rule(self.has_reset or r.commit >= old.commit, "commit falls")
        self.state = r

    def entry(self, r):
        self.step_8(r.index == self.next, "an entry that is not at the log's end")
        before = self.term_of(r.index - 1)
        self.rule(before is None or r.term >= before, "the terms of entries fall")
        self.entries[r.index] = r
        self.next, self.last_term = r.index + 1, r.term


class Log:
    """What the files of a directory come to."""

    def __init__(self, path):
        self.path, self.lines = path, []
        self.segments, self.live, self.unstarted = {}, [], []
        self.h, self.raised = None, False
        self.state = SimpleNamespace(term=0, vote=0, commit=0)

    def read(self):
        """Fills `lines`; the last of them is the verdict."""
        try:
            verdict, refused = self.follow(), None
        except Verdict as v:
            verdict, refused = v.line, v
        for seq in sorted(self.segments):
            self.print_segment(self.segments[seq])
        if refused:
            self.lines.append({"info": "why", "is": str(refused)})
        else:
            self.print_log()
        self.lines.append(verdict)
        return self.lines

    def follow(self):
        data = read(os.path.join(self.path, "IDENT"))
        wal = os.path.join(self.path, "wal")
        names = os.listdir(wal) if os.path.isdir(wal) else []
        numbers = [int(n[:20]) for n in names if re.fullmatch("[0-9]{20}[.]seg", n)]
        numbers = sorted(n for n in numbers if 0 < n < 2**64)
        if data is None:
            raise Verdict("no IDENT" if numbers else "no log", "IDENT", "no such file")
        self.identity, self.slot = read_ident(data)
        self.lines.append({
            "identity": self.identity.wal_uuid.hex(), "cluster": self.identity.cluster_id,
            "node": self.identity.node_id, "created_ms": self.identity.created_ms})
        self.lines.append({"info": "HEAD", "is": self.slot and show(self.slot)})
        for seq in numbers:
            self.segments[seq] = Segment(seq, read(os.path.join(wal, f"{seq:020}.seg")))
        self.find_newest()
        verdict = self.judge()
        self.names_exist()
        if self.h:
            self.walk_back()
            self.replay()
        self.term_and_vote()
        return verdict

    def sound(self, seg):
        """Step 2, for a segment that counts."""
        if seg.problem:
            raise seg.problem
        if seg.header.wal_uuid != self.identity.wal_uuid:
            raise Verdict("foreign", seg.name, "a segment of another log")
        if seg.header.seq != seg.seq:
            raise seg.bad("the header is that of another number")
        return seg

    def find_newest(self):
        """Step 3."""
        head = self.slot.start_seq if self.slot else 0
        for seq in sorted(self.segments, reverse=True):
            if seq < head and head not in self.segments:
                raise Verdict("damage", f"wal/{head:020}.seg", "HEAD names it")
            seg = self.sound(self.segments[seq])
            if len(seg.data) < seg.header.capacity:
                raise seg.bad("shorter than its capacity")
            if seg.started():
                self.h = seg
                return
            if seg.newer:
                raise Verdict("unsupported", seg.name, seg.why)
            if seg.promise_above(FIRST_FRAME):
                raise seg.bad("the first frame was durable", FIRST_FRAME)
            self.unstarted.append(seg)

    def judge(self):
        """Steps 4 and 5, and section 7."""
        h = self.h
        if h is None:
            return {"verdict": "empty"}
        if h.newer:
            raise Verdict("unsupported", h.name, h.why)
        self.find_floor()
        last = h.frames[-1]
        if last.flags & SEAL:
            return {"verdict": "sealed"}
        clean = any(m.flags & CLEAN and m.durable_to == h.p for m in h.marks)
        started_later = self.slot is not None and self.slot.start_seq > h.seq
        begun = any(any(u.data[FIRST_FRAME:FIRST_FRAME + PAGE]) for u in self.unstarted)
        above = any(m.durable_to > h.p for m in h.marks)
        if clean and not started_later and not begun and not above:
            return {"verdict": "closed"}
        if h.promise_above(h.p, last.batch_seq + 1):
            raise h.bad(f"batch {last.batch_seq + 1} was durable: {h.why}", h.p)
        return {"verdict": "torn"}

    def names_exist(self):
        """Step 6."""
        if self.slot and self.slot.start_seq > (self.h.seq if self.h else 0):
            for seq in (self.slot.start_seq, self.slot.live_seq, self.slot.proven_seq):
                if seq and seq not in self.segments:
                    raise Verdict("damage", f"wal/{seq:020}.seg", "HEAD names it")
        if self.h and self.h.frames[-1].flags & SEAL:
            seal = self.h.frames[-1].records[0].fields
            named = self.segments.get(seal.next_segment)
            if not named or named.problem or named.header.salt != seal.next_salt:
                raise Verdict("damage", f"wal/{seal.next_segment:020}.seg", "Seal names it")

    def find_floor(self):
        """The first half of step 7."""
        self.floor = 0
        for r in (r for f in self.h.frames for r in f.records if r.index is None):
            floor = self.h.seq if r.kind == "Reset" else getattr(r.fields, "floor_seq", 0)
            self.floor = max(self.floor, floor)
        if self.floor > self.h.seq:
            raise self.h.bad("the floor is above the segment")

    def walk_back(self):
        """Step 7. Fills `live`: pairs of a segment and its frames up to the cut, oldest first."""
        self.live, base = [(self.h, self.h.frames)], self.h.base()
        while base.prev_segment and base.prev_segment >= self.floor:
            younger = self.live[0][0]
            seg = self.segments.get(base.prev_segment)
            if not seg:
                name = f"wal/{base.prev_segment:020}.seg"
                raise Verdict("damage", name, "the predecessor is missing")
            if seg.seq >= younger.seq:
                raise seg.bad("the predecessor is not older")
            if self.sound(seg).header.salt != base.prev_salt:
                raise seg.bad("the predecessor has another salt")
            if seg.frames and not seg.started():
                raise seg.bad("the first frame is another era's", FIRST_FRAME)
            if seg.newer and seg.p < base.prev_end:
                raise Verdict("unsupported", seg.name, seg.why)
            frames = [f for f in seg.frames if f.end <= base.prev_end]
            end = frames[-1].end if frames else FIRST_FRAME
            if end != base.prev_end:
                raise seg.bad(f"no frame ends at the cut {base.prev_end}: {seg.why}", end)
            last = frames[-1]
            if (last.batch_seq, last.header_crc) != (base.prev_batch_seq, base.prev_chain):
                raise seg.bad("another frame ends at the cut")
            self.live.insert(0, (seg, frames))
            base = seg.base()

    def replay(self):
        """Steps 8 to 10."""
        entries = {}
        for seg, frames in self.live:
            self.log = Replay(seg, entries, seg is self.h)
            if seg is self.h and entries:
                if not are_dense(entries, min(entries), self.log.next):
                    raise Verdict("damage", None, "entries are missing before the newest segment")
                self.terms_of_base(seg.base(), entries)
            for f in frames:
                self.log.apply(f)
        self.state = SimpleNamespace(**vars(self.log.state))
        for index in [i for i in entries if i < self.log.first]:
            del entries[index]
        if not are_dense(entries, self.log.first, self.log.next):
            raise Verdict("damage", None, "entries are missing")

    def terms_of_base(self, base, entries):
        """The end of step 8."""
        last = base.last_term or None
        if base.next_index == base.first_index:
            last = base.base_term
        for after, term in ((base.first_index, base.base_term), (base.next_index, last)):
            entry = entries.get(after - 1)
            if entry and term is not None and entry.term != term:
                raise self.h.bad(f"the Base has another term of {after - 1}")

    def term_and_vote(self):
        """Step 11."""
        state = self.state
        for seg in ([self.h] if self.h else []) + self.unstarted:
            mark = max(seg.marks, key=lambda m: m.mark_no, default=None)
            if not mark or not mark.state_off:
                continue
            if mark.term == state.term and mark.vote and state.vote not in (0, mark.vote):
                raise seg.bad("two votes in one term")
            newer = mark.term > state.term
            newer |= mark.term == state.term and mark.vote != 0 and state.vote == 0
            if newer and seg is self.h and mark.state_off < seg.p:
                raise seg.bad("the log has lost a hard state")
            if newer:
                state.term, state.vote, self.raised = mark.term, mark.vote, True

    # --- What is printed --------------------------------------------------------------------------

    def print_segment(self, seg):
        if seg.problem:
            self.lines.append({"segment": seg.seq, "bad": seg.problem.line["verdict"]})
            return
        h = seg.header
        self.lines.append({
            "segment": seg.seq, "len": len(seg.data), "salt": h.salt, "uuid": h.wal_uuid.hex(),
            "seq": h.seq, "capacity": h.capacity, "created_ms": h.created_ms, "align": h.align,
            "era": h.era, "era_nonce": h.era_nonce})
        for m in seg.marks:
            self.lines.append({
                "mark": m.mark_no, "durable_to": m.durable_to, "batch_seq": m.batch_seq,
                "chain": m.chain, "clean": bool(m.flags), "state_off": m.state_off,
                "term": m.term, "vote": m.vote})
        for f in seg.frames:
            self.lines.append({
                "frame": f.batch_seq, "at": f.offset, "end": f.end, "n_entries": f.n_entries,
                "durable_to": f.durable_to, "first_index": f.first_index, "chain": f.chain,
                "body_crc": f.body_crc, "flags": f.flags, "header_crc": f.header_crc})
            self.lines += [record_line(r) for r in f.records]
        self.lines.append({"end": seg.p, "newer": seg.newer})
        self.print_index(seg)

    def print_index(self, seg):
        """Whether the index file of a closed segment is that of its cut."""
        file = read(os.path.join(self.path, "wal", f"{seg.seq:020}.idx"))
        for (older, frames), (younger, _) in zip(self.live, self.live[1:]):
            if older is seg and file is not None:
                says = index_file(file, seg, frames, younger.base())
                self.lines.append({"info": "index", "segment": seg.seq, "says": says})

    def print_log(self):
        first, after, base_term, marker, metadata, blobs = 1, 1, None, None, None, {}
        if self.h:
            log = self.log
            first, after, base_term, marker = log.first, log.next, log.base_term, log.marker
            metadata = None if log.metadata is None else log.metadata.hex()
            blobs = {k.hex(): v.hex() for k, v in sorted(log.blobs.items())}
            walk = [[seg.seq, frames[-1].end] for seg, frames in self.live]
            self.lines.append({"info": "cuts", "are": walk, "floor": self.floor})
        self.lines.append({"log": first, "next": after, "base_term": base_term})
        state = self.state
        self.lines.append({"term": state.term, "vote": state.vote, "commit": state.commit,
                           "raised": self.raised})
        self.lines.append({"marker": marker and show(marker)})
        self.lines.append({"metadata": metadata})
        self.lines.append({"blobs": blobs})
        for index in range(first, after):
            r = log.entries[index]
            line = {"entry": index, "term": r.term, "kind": r.kind, "data": r.data.hex()}
            self.lines.append(line)
        self.lines.append({"segments": len(self.live)})


def are_dense(entries, first, after):
    """Whether the entries are exactly those from `first` up to `after`."""
    return after - first == len(entries) and all(first <= i < after for i in entries)


def record_line(r):
    if r.index is None:
        return {"record": r.kind, "at": r.offset, **show(r.fields)}
    return {"record": r.kind, "at": r.offset, "index": r.index, "term": r.term, "len": len(r.data)}


def main():
    for path in sys.argv[1:]:
        print(json.dumps({"dir": path}))
        for line in Log(path).read():
            print(json.dumps(line))


if __name__ == "__main__":
    main()
