//! Holds that one corpus of answers gives the same facts, whichever reader takes it.

use custom_template_jobs::api::JobFacts;
use custom_template_jobs::value::Value;

/// Reads the whole corpus with one reader.
pub fn check<V: Value>(parse: impl Fn(&str) -> V) {
    let corpus = parse(include_str!("jobs.json"));
    let cases = corpus.keys();
    assert!(cases.len() > 30, "the corpus is read");
    for at in cases {
        let case = corpus.get(&at).expect("a case");
        let name = case.text("name").expect("a name");
        let read = JobFacts::read(&parse(&case.text("body").expect("a body")));
        let expected = case.get("facts").filter(|facts| facts.get("id").is_some());
        let Some(expected) = expected else {
            assert_eq!(read, None, "{name}");
            continue;
        };
        let read = read.unwrap_or_else(|| panic!("{name}: no job was read"));
        let truth = |key: &str| expected.get(key).expect("a fact").kind() == custom_template_jobs::value::Kind::Bool(true);
        assert_eq!(Some(read.id), expected.text("id"), "{name}");
        assert_eq!(Some(format!("{:?}", read.status)), expected.text("status"), "{name}");
        assert_eq!(read.progress, expected.number("progress"), "{name}");
        assert_eq!(read.preview, truth("preview"), "{name}");
        assert_eq!(read.video, truth("video"), "{name}");
        assert_eq!(read.failed_reason, expected.text("failed_reason"), "{name}");
        assert_eq!(read.updated_at, expected.text("updated_at"), "{name}");
        assert_eq!(read.credits_used, expected.number("credits_used"), "{name}");
        assert_eq!(read.duration, expected.number("duration"), "{name}");
    }
}
