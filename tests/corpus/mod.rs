//! Holds that one corpus of answers gives the same facts, whichever reader takes it, and that values are read alike.

use custom_template_jobs::api::JobFacts;
use custom_template_jobs::value::{Kind, Value, inspect};

/// Reads the whole corpus with one reader. What is parsed is a text of the host's own.
pub fn check<V: Value + std::fmt::Debug>(parse: impl Fn(V) -> V) {
    let corpus = parse(V::text(include_str!("jobs.json")));
    let mut cases = 0;
    for case in (0..).map(|at| corpus.nth(at)).take_while(|case| case.is_there()) {
        cases += 1;
        let name = case.get("name");
        assert_eq!(name.kind(), Kind::Text, "a name");
        let job = parse(case.get("body"));
        let read = JobFacts::read(job);
        let expected = case.get("facts");
        if !expected.get("id").is_there() {
            assert_eq!(read, None, "{name:?}");
            continue;
        }
        let read = read.unwrap_or_else(|| panic!("{name:?}: no job was read"));
        // What the provider does not tell is -1.
        let number = |key: &'static str| expected.number_of(key).max(-1.0);
        // Of the two texts that the facts do not hold, the core takes those that are not empty.
        let filled = |value: V| if value.matches(".") { value } else { V::nothing() };
        assert_eq!(job.get("id"), expected.get("id"), "{name:?}");
        assert_eq!(expected.get("status"), V::text_of(&format!("{:?}", read.status)), "{name:?}");
        assert_eq!(read.progress, number("progress"), "{name:?}");
        assert_eq!(read.preview, expected.get("preview").is_true(), "{name:?}");
        assert_eq!(read.video, expected.get("video").is_true(), "{name:?}");
        assert_eq!(filled(job.get("failed_reason")), filled(expected.get("failed_reason")), "{name:?}");
        assert_eq!(filled(job.get("updated_at")), filled(expected.get("updated_at")), "{name:?}");
        let touched = filled(expected.get("updated_at")).or(|| job.get("updated_at"));
        assert_eq!(read.touched, touched.hash(0.0), "{name:?}");
        assert_eq!(read.credits_used, number("credits_used"), "{name:?}");
        assert_eq!(read.duration, number("duration"), "{name:?}");
    }
    assert!(cases > 30, "the corpus is read");
}

fn print_of<V: Value>(parse: &impl Fn(V) -> V, text: &str) -> f64 {
    inspect(parse(V::text_of(text)), V::text("variables"), 0.0).unwrap_or_else(|_| panic!("{text} is refused"))
}

/// A fingerprint ignores the order of fields and nothing else.
pub fn check_fingerprints<V: Value>(parse: impl Fn(V) -> V) {
    let one = print_of(&parse, r#"{"a":1,"b":{"c":"x","d":null}}"#);
    assert_eq!(one, print_of(&parse, r#"{"b":{"d":null,"c":"x"},"a":1}"#));
    for other in [
        r#"{"a":2,"b":{"c":"x","d":null}}"#,
        r#"{"a":1,"b":{"c":"x"}}"#,
        r#"{"a":1,"b":{"c":"x","d":false}}"#,
        r#"{"a":1,"c":"x","b":{"d":null}}"#,
        r#"{"a":"1","b":{"c":"x","d":null}}"#,
    ] {
        assert_ne!(one, print_of(&parse, other), "{other}");
    }
    assert_ne!(print_of(&parse, "[1,2]"), print_of(&parse, "[2,1]"));
}

/// Endless nesting is refused with its path.
pub fn check_nesting<V: Value + std::fmt::Debug>(parse: impl Fn(V) -> V) {
    let deep = format!("{}1{}", "[".repeat(110), "]".repeat(110));
    let Err(failure) = inspect(parse(V::text_of(&deep)), V::text("variables"), 0.0) else { panic!("too deep") };
    assert!(failure.get("field").matches(r"^variables\.0\.0"), "{:?}", failure.get("field"));
}

/// A decimal is read and anything else is not.
pub fn check_decimals<V: Value>() {
    assert_eq!(V::text("12.25").as_number(), 12.25);
    assert_eq!(V::text("0").as_number(), 0.0);
    for text in ["", "-1", "1e3", "1.2.3", "NaN", " 1", "99999999999999999999"] {
        assert!(V::text_of(text).as_number().is_nan(), "{text}");
    }
}
