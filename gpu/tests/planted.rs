//! The simulator finds every planted bug, and nothing in the kernels as they are.

mod place;

use tandem_gpu::planted::{outcomes, run, simulation, subjects};

#[test]
fn every_bug_changes_texts_that_occur_once() {
    for subject in subjects() {
        assert!(!subject.bugs.is_empty(), "{} has no bugs", subject.name);
        for (at, bug) in subject.bugs.iter().enumerate() {
            let text = bug.plant(subject.source).unwrap();
            assert_ne!(text, subject.source.text, "{}: {}", subject.name, bug.name);
            assert!(!subject.bugs[..at].iter().any(|other| other.name == bug.name), "{} twice", bug.name);
        }
    }
}

#[test]
fn kernels_are_clean_and_bugs_are_found_under_every_seed() {
    let Some(compiler) = place::compiler() else { return };
    let rows = run(&compiler, &simulation(), 20, 10).unwrap();
    let wrong: Vec<String> = rows.iter().filter(|row| !row.is_right()).map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{} rows are not right:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_subject_without_a_bug_is_what_the_table_begins_with() {
    let Some(compiler) = place::compiler() else { return };
    let subject = &subjects()[2];
    let row = outcomes(&compiler, subject, None, &simulation(), [77]).unwrap();
    assert!(row.is_right() && row.bug.is_none() && row.outcomes.len() == 1, "{row}");
}
