//! The bytes of a file, in shared pages: copying an image copies pointers.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use fastrand::Rng;

/// What a disk writes at once, and the unit in which un-synced writes survive.
pub(super) const SECTOR: u64 = 512;

/// What the page cache writes, loses and re-reads at once.
pub(super) const PAGE: u64 = 4096;

const PAGE_SIZE: usize = PAGE as usize;

/// Bytes, and their digest once somebody has asked for it: unchanged pages are shared, so most are
/// hashed once for thousands of disks.
#[derive(Clone)]
struct Page {
    bytes: [u8; PAGE_SIZE],
    digest: OnceLock<u64>,
}

/// Bytes from 0 on; whatever was never written is zero. Knows no length: its owner does, and cuts
/// the image so that nothing but zeros lies behind the end.
#[derive(Clone, Default)]
pub(super) struct Image {
    /// `None` is a page of zeros.
    pages: Vec<Option<Arc<Page>>>,
}

/// Number of the page that holds byte `offset`.
pub(super) fn page_of(offset: u64) -> u64 {
    offset / PAGE
}

/// Cuts `offset..offset + len` where multiples of `unit` lie.
fn pieces(range: Range<u64>, unit: u64) -> impl Iterator<Item = Range<u64>> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        let end = range.end.min((at / unit + 1) * unit);
        let piece = at..end;
        at = end;
        (piece.start < piece.end).then_some(piece)
    })
}

/// Cuts a byte range at sector borders.
pub(super) fn sectors(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    pieces(range, SECTOR)
}

impl Image {
    /// Copies bytes from `offset` on into `buf`.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) {
        let mut rest = buf;
        for piece in pieces(offset..offset + rest.len() as u64, PAGE) {
            let (head, tail) = rest.split_at_mut((piece.end - piece.start) as usize);
            match self.page(page_of(piece.start)) {
                Some(page) => head.copy_from_slice(&page.bytes[within(&piece)]),
                None => head.fill(0),
            }
            rest = tail;
        }
    }

    /// The bytes of `range`.
    pub(super) fn bytes(&self, range: Range<u64>) -> Vec<u8> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.read(range.start, &mut bytes);
        bytes
    }

    /// Writes `bytes` at `offset`.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut rest = bytes;
        for piece in pieces(offset..offset + bytes.len() as u64, PAGE) {
            let (head, tail) = rest.split_at((piece.end - piece.start) as usize);
            self.page_mut(page_of(piece.start))[within(&piece)].copy_from_slice(head);
            rest = tail;
        }
    }

    /// Sets `range` to zero.
    pub(super) fn zero(&mut self, range: Range<u64>) {
        for piece in pieces(range, PAGE) {
            let number = page_of(piece.start);
            if self.page(number).is_some() {
                self.page_mut(number)[within(&piece)].fill(0);
            }
        }
    }

    /// Fills `range` with noise drawn from `seed`.
    pub(super) fn garble(&mut self, range: Range<u64>, seed: u64) {
        let mut noise = vec![0; (range.end - range.start) as usize];
        Rng::with_seed(seed).fill(&mut noise);
        self.write(range.start, &noise);
    }

    /// Copies `range` from the same place of `other`.
    pub(super) fn copy_from(&mut self, other: &Image, range: Range<u64>) {
        let bytes = other.bytes(range.clone());
        self.write(range.start, &bytes);
    }

    /// Zeroes everything from `len` on.
    pub(super) fn cut(&mut self, len: u64) {
        let whole = len.div_ceil(PAGE);
        self.pages.truncate(usize::try_from(whole).unwrap_or(usize::MAX));
        self.zero(len..whole * PAGE);
    }

    /// Makes page `number` the same as in `other`.
    pub(super) fn take_page(&mut self, number: u64, other: &Image) {
        let page = other.pages.get(number as usize).cloned().flatten();
        if page.is_some() || (number as usize) < self.pages.len() {
            *self.slot(number) = page;
        }
    }

    fn page(&self, number: u64) -> Option<&Page> {
        self.pages.get(number as usize)?.as_deref()
    }

    fn slot(&mut self, number: u64) -> &mut Option<Arc<Page>> {
        let index = number as usize;
        if index >= self.pages.len() {
            self.pages.resize(index + 1, None);
        }
        &mut self.pages[index]
    }

    /// The bytes of a page, about to be changed.
    fn page_mut(&mut self, number: u64) -> &mut [u8; PAGE_SIZE] {
        let blank = || Arc::new(Page { bytes: [0; PAGE_SIZE], digest: OnceLock::new() });
        let page = Arc::make_mut(self.slot(number).get_or_insert_with(blank));
        page.digest.take();
        &mut page.bytes
    }
}

/// A piece of a file as a range of its page.
fn within(piece: &Range<u64>) -> Range<usize> {
    let base = page_of(piece.start) * PAGE;
    (piece.start - base) as usize..(piece.end - base) as usize
}

impl Hash for Image {
    /// Equal contents hash equal, holes and pages of written zeros included.
    fn hash<H: Hasher>(&self, state: &mut H) {
        for (number, page) in self.pages.iter().enumerate() {
            if let Some(page) = page {
                let digest = *page.digest.get_or_init(|| digest(&page.bytes));
                if digest != 0 {
                    (number, digest).hash(state);
                }
            }
        }
    }
}

/// A hash of a page, 0 for zeros only; faster by an order than a general one. Four chains of
/// multiplications, each folded, so that no bit is lost on the way.
fn digest(bytes: &[u8; PAGE_SIZE]) -> u64 {
    const KEYS: [u64; 4] = [
        0x9e37_79b9_7f4a_7c15,
        0xc2b2_ae3d_27d4_eb4f,
        0x1656_67b1_9e37_79f9,
        0x27d4_eb2f_1656_67c5,
    ];
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let (mut chains, mut any) = (KEYS, 0);
    for block in bytes.chunks_exact(32) {
        for ((chain, word), key) in chains.iter_mut().zip(block.chunks_exact(8)).zip(KEYS) {
            let word = word.try_into().map_or(0, u64::from_le_bytes);
            *chain = fold(*chain ^ word, key).wrapping_add(word);
            any |= word;
        }
    }
    let all = chains.into_iter().zip(KEYS).fold(0, |all, (chain, key)| fold(all ^ chain, key));
    if any == 0 { 0 } else { all.max(1) }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image").field("pages", &self.pages.len()).finish()
    }
}
