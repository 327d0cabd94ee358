//! The promises of docs/DURABILITY.md, one by one. Each test fails without the code that keeps its
//! promise; random histories over all of them are in `crash.rs`.
//!
//! | promise | tests here (`p03_...` keeps P3) | and |
//! |---|---|---|
//! | P1 acknowledged means there | `crashes::p01_p03_*` | `crash.rs` |
//! | P2 a batch is all or nothing | `crashes::p02_*` | `unmodelled/tears.rs` |
//! | P3 no crash is refused | `crashes::p01_p03_*` | `crash.rs` |
//! | P4 recovery may be interrupted | `crashes::p04_*` | `crash.rs` |
//! | P5 what was given up does not come back | `crashes::p05_*` | `unmodelled/tears.rs` |
//! | P6 names are durable first | `crashes::p06_*` | `crash.rs` |
//! | P7 what an open serves is durable | `crashes::p07_*` | `unmodelled/space.rs` |
//! | P8 an open reads the tail | `crashes::p08_*` | |
//! | P9 damage is never silent | `damage::p09_*` | `crash.rs` (damage) |
//! | P10 promises tell torn from damaged | `damage::p10_*` | `unmodelled/lookahead.rs` |
//! | P11 the one doubt is confined and told | `damage::p11_*` | |
//! | P12 term and vote do not go back | `damage::p12_*` | `unmodelled/tears.rs` |
//! | P13 misplaced bytes are recognised | `damage::p13_*` | |
//! | P14 every read is checked | `damage::p14_*` | `unmodelled/index.rs` |
//! | P15 verification finds every bit | `damage::p15_*` | |
//! | P16 the first failed write or sync is the last | `failures::p16_*` | `crash.rs` |
//! | P17 `NoSpace` means that nothing was written | `failures::p17_*` | `unmodelled/space.rs` |
//! | P18 a read error stays where it is | `failures::p18_*` | |
//! | P19 no content is trusted | `failures::p19_*` | `real/` |
//! | P20 nothing but the log is touched | `failures::p20_*` | `real/` |
//! | P21 one writer | `failures::p21_*` | `real/` |
//! | P22 readers disturb nothing | | `unmodelled/readers.rs` |
//! | P23 a damaged log can be opened for what is sound | `damage::p23_*` | `golden.rs` |

mod support;

#[path = "promises/crashes.rs"]
mod crashes;
#[path = "promises/damage.rs"]
mod damage;
#[path = "promises/failures.rs"]
mod failures;
