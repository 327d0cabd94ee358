//! The README says what is so. Its example is run as a documentation test.

const README: &str = include_str!("../../../../README.md");
const CI: &str = include_str!("../../../../.ci/run");

/// The first block of commands, without their comments.
fn commands() -> Vec<&'static str> {
    let block = README.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    block.lines().map(|line| line.split('#').next().unwrap().trim()).collect()
}

#[test]
fn the_readme_opens_with_the_demonstration_and_the_tests() {
    let commands = commands();
    assert_eq!(commands.len(), 2, "{commands:?}");
    assert_eq!(commands[0], "cargo run --release -p wal-demo");
    assert!(commands[1].starts_with("cargo test "), "{commands:?}");
    assert!(README.find("```sh").unwrap() < 200, "the commands come first");
}

#[test]
fn what_is_checked_is_the_readmes_test_command_to_the_letter() {
    let ran =
        CI.lines().filter_map(|line| line.trim().strip_suffix(" 2>&1 | tee \"$log\" || code=$?"));
    assert_eq!(ran.collect::<Vec<_>>(), [commands()[1]]);
}

#[test]
fn every_file_that_the_readme_points_to_is_there() {
    let targets = README.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    let mut local = 0;
    for target in targets.filter(|t| !t.contains("://")) {
        assert!(crate::common::workspace().join(target).exists(), "{target}");
        local += 1;
    }
    assert!(local > 10, "{local}");
}
