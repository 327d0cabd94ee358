//! `docs/FORMAT.md` as data: its tables, and a decoder that knows nothing else.

use std::collections::BTreeMap;

/// What the page says.
pub(crate) struct Page {
    pub(crate) text: String,
    pub(crate) tables: BTreeMap<String, Table>,
    pub(crate) constants: BTreeMap<String, u64>,
    /// Record kinds by name.
    pub(crate) kinds: BTreeMap<String, u64>,
    pub(crate) flags: BTreeMap<String, u64>,
}

/// One field table.
pub(crate) struct Table {
    pub(crate) name: String,
    /// The size that its caption gives, if that is a number.
    pub(crate) len: Option<usize>,
    pub(crate) rows: Vec<Row>,
}

/// One row of a field table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The offset, where it is a number.
    pub(crate) offset: Option<usize>,
    pub(crate) size: Size,
    pub(crate) kind: Kind,
    pub(crate) name: String,
}

/// How many bytes a field has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Fixed(usize),
    /// As many as an earlier field says.
    Of(String),
    Rest,
}

/// The type column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Pattern,
    Bytes,
    Zero,
    Crc,
}

/// A field of a decoded block.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) at: usize,
    pub(crate) bytes: &'a [u8],
    pub(crate) row: Row,
}

impl Field<'_> {
    /// Its value as a little-endian integer.
    pub(crate) fn number(&self) -> u64 {
        assert!(self.bytes.len() <= 8, "{} is a number", self.row.name);
        self.bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))
    }
}

impl Page {
    /// Reads the page.
    pub(crate) fn parse(text: String) -> Self {
        let mut tables = BTreeMap::new();
        let mut current: Option<Table> = None;
        for line in text.lines() {
            if let Some(caption) = line.strip_prefix("Table `") {
                let (name, rest) = caption.split_once('`').expect("a name in backquotes");
                let len = rest.trim_start_matches(':').split_whitespace().next();
                let (name, len) = (name.to_owned(), len.and_then(|n| n.parse().ok()));
                current = Some(Table { name, len, rows: Vec::new() });
            } else if let Some(table) = &mut current {
                match cells(line) {
                    Some(c) if c.len() == 5 && c[2] != "type" && !c[0].starts_with('-') => {
                        table.rows.push(Row::parse(&c));
                    }
                    None if !table.rows.is_empty() => {
                        let table = current.take().expect("it is there");
                        tables.insert(table.name.clone(), table);
                    }
                    _ => {}
                }
            }
        }
        let [constants, kinds, flags] =
            ["constant", "kind", "flag"].map(|heading| pairs(&text, heading));
        Self { text, tables, constants, kinds, flags }
    }

    /// The table of this name.
    pub(crate) fn table(&self, name: &str) -> &Table {
        self.tables.get(name).unwrap_or_else(|| panic!("FORMAT.md has no table `{name}`"))
    }
}

/// The cells of a table's line; `None` if it is none.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

/// Name and number of each row of the table with this heading.
fn pairs(text: &str, heading: &str) -> BTreeMap<String, u64> {
    let rows = text.lines().skip_while(|l| cells(l).is_none_or(|c| c[0] != heading));
    let rows = rows.skip(2).map_while(cells);
    let pair = |c: Vec<&str>| {
        let name = c[0].trim_matches('`').to_owned();
        (name, c[1].parse().unwrap_or_else(|_| panic!("{c:?}: a number")))
    };
    rows.map(pair).collect()
}

impl Row {
    fn parse(cells: &[&str]) -> Self {
        let size = match cells[1] {
            "rest" => Size::Rest,
            s => s.parse().map_or_else(|_| Size::Of(s.to_owned()), Size::Fixed),
        };
        let (kind, width) = match cells[2] {
            "u8" => (Kind::Number, Some(1)),
            "u16" => (Kind::Number, Some(2)),
            "u32" => (Kind::Number, Some(4)),
            "u64" => (Kind::Number, Some(8)),
            "x16" => (Kind::Pattern, Some(2)),
            "x32" => (Kind::Pattern, Some(4)),
            "x64" => (Kind::Pattern, Some(8)),
            "crc" => (Kind::Crc, Some(4)),
            "bytes" => (Kind::Bytes, None),
            "zero" => (Kind::Zero, None),
            other => panic!("type {other} is not one of the page's"),
        };
        if let Some(width) = width {
            assert_eq!(size, Size::Fixed(width), "{cells:?}: type and size");
        }
        Self { offset: cells[0].parse().ok(), size, kind, name: cells[3].to_owned() }
    }
}

impl Table {
    /// Divides a block into its fields. The block must be exactly as long as the table says.
    pub(crate) fn decode<'a>(&self, block: &'a [u8]) -> Vec<Field<'a>> {
        let mut out: Vec<Field<'a>> = Vec::new();
        let mut at = 0;
        for row in &self.rows {
            if let Some(offset) = row.offset {
                assert_eq!(offset, at, "{}: no gap before {}", self.name, row.name);
            }
            let len = match &row.size {
                Size::Fixed(n) => *n,
                Size::Rest => block.len() - at,
                Size::Of(name) => {
                    let of = out.iter().find(|f| &f.row.name == name);
                    of.unwrap_or_else(|| panic!("{}: no field {name}", self.name)).number() as usize
                }
            };
            let bytes = &block[at..at + len];
            out.push(Field { at, bytes, row: row.clone() });
            at += len;
        }
        assert_eq!(at, block.len(), "{}: nothing is left over", self.name);
        out
    }

    /// The field of this name in a block.
    pub(crate) fn field<'a>(&self, block: &'a [u8], name: &str) -> Field<'a> {
        let mut fields = self.decode(block).into_iter();
        fields.find(|f| f.row.name == name).unwrap_or_else(|| panic!("{}: no {name}", self.name))
    }

    /// The value of a number in a block.
    pub(crate) fn number(&self, block: &[u8], name: &str) -> u64 {
        self.field(block, name).number()
    }
}

/// CRC-32 from a start value, as the page names it, bit by bit: not the code under test.
pub(crate) fn crc32(seed: u32, bytes: &[u8]) -> u32 {
    let step = |c: u32, &b: &u8| {
        (0..8).fold(c ^ u32::from(b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    };
    !bytes.iter().fold(!seed, step)
}

/// Whether a block's last four bytes are its checksum.
pub(crate) fn is_sealed(seed: u32, block: &[u8]) -> bool {
    let (rest, sum) = block.split_at(block.len() - 4);
    crc32(seed, rest).to_le_bytes() == sum
}

/// Puts a block's checksum into its last four bytes.
pub(crate) fn seal(seed: u32, block: &mut [u8]) {
    let at = block.len() - 4;
    let sum = crc32(seed, &block[..at]);
    block[at..].copy_from_slice(&sum.to_le_bytes());
}
