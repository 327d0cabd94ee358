//! The table of facts in docs/TESTING.md is about tests that are there.

/// The section with the table, up to the next one.
fn section() -> &'static str {
    let page = include_str!("../../../docs/TESTING.md");
    let (_, section) = page.split_once("\n## 7. The facts of Raft").expect("the section");
    section.split_once("\n## ").map_or(section, |(section, _)| section)
}

const SOURCES: [(&str, &str); 15] = [
    ("terms_and_votes", include_str!("terms_and_votes.rs")),
    ("quorum_and_lease", include_str!("quorum_and_lease.rs")),
    ("transfer", include_str!("transfer.rs")),
    ("log", include_str!("log.rs")),
    ("membership", include_str!("membership.rs")),
    ("ready", include_str!("ready.rs")),
    ("flow", include_str!("flow.rs")),
    ("reads", include_str!("reads.rs")),
    ("restart", include_str!("restart.rs")),
    ("paper", include_str!("paper.rs")),
    ("thesis", include_str!("thesis.rs")),
    ("beyond_etcd::damaged", include_str!("beyond_etcd/damaged.rs")),
    ("beyond_etcd::messages", include_str!("beyond_etcd/messages.rs")),
    ("beyond_etcd::storages", include_str!("beyond_etcd/storages.rs")),
    ("beyond_etcd::stored", include_str!("beyond_etcd/stored.rs")),
];

#[test]
fn each_of_the_78_facts_has_a_row_that_names_a_test() {
    let mut next = 1;
    for line in section().lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if cells[1].parse() == Ok(next) {
            assert!(cells[3].starts_with('`'), "fact {next} has no test");
            next += 1;
        }
    }
    assert_eq!(next, 79);
}

#[test]
fn each_test_that_the_table_names_is_there() {
    let mut named = 0;
    for name in section().split('`').skip(1).step_by(2) {
        let Some((module, test)) = name.rsplit_once("::") else { continue };
        let Some((_, source)) = SOURCES.iter().find(|(of, _)| *of == module) else { continue };
        assert!(source.contains(&format!("#[test]\nfn {test}(")), "{name} is not there");
        named += 1;
    }
    println!("{named} tests are named");
    assert!(named > 100);
}
