//! What the protocol's abstract model leaves out is tested here on the simulated disk: tears
//! between two bytes, index files and the running minimum, mappings, readers of a running log, a
//! full disk, keyed values and metadata, the closing mark, bytes that look like evidence, several
//! damages at once, and batch numbers that are used again after a crash.

mod support;

#[path = "unmodelled/damages.rs"]
mod damages;
#[path = "unmodelled/index.rs"]
mod index;
#[path = "unmodelled/lookahead.rs"]
mod lookahead;
#[path = "unmodelled/readers.rs"]
mod readers;
#[path = "unmodelled/recycled.rs"]
mod recycled;
#[path = "unmodelled/space.rs"]
mod space;
#[path = "unmodelled/tears.rs"]
mod tears;
#[path = "unmodelled/values.rs"]
mod values;
