use super::*;

#[test]
fn the_filled_webhook_url_brings_the_operation_id_back() {
    for operation in ["a+b", "a/b", "a&b#c", "100 %", "?", "straße 漢字 🎬", "a=b"] {
        for url in ["https://example.com/hook?operation={operation}", "https://example.com/{operation}?x=1"] {
            let filled = fill_webhook_url(url, operation).expect("it fits").expect("it has the placeholder");
            let (start, end) = url.split_once(PLACEHOLDER).expect("it has one");
            let encoded = filled.strip_prefix(start).and_then(|rest| rest.strip_suffix(end)).expect("nothing else changes");
            assert!(!encoded.contains(['+', '/', '&', '#', '?', ' ', '=']), "{encoded}");
            assert_eq!(percent_decode(encoded), operation);
        }
    }
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits: Vec<u8> = rest.by_ref().take(2).collect();
            let digits = std::str::from_utf8(&digits).expect("ascii");
            bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).expect("utf-8")
}

#[test]
fn a_placeholder_outside_of_path_and_query_is_refused() {
    for url in [
        "https://{operation}.example.com/",
        "https://example.com:{operation}/",
        "https://user:{operation}@example.com/",
        "https://example.com/#{operation}",
        "https://example.com/{operation}#{operation}",
    ] {
        assert_eq!(fill_webhook_url(url, "a").expect_err(url).field, "webhook_url");
    }
    assert_eq!(fill_webhook_url("https://example.com/", "a"), Ok(None));
}

#[test]
fn dots_alone_are_refused_in_a_path_and_pass_in_a_query() {
    for operation in [".", ".."] {
        assert!(fill_webhook_url("https://example.com/{operation}", operation).is_err());
        assert!(fill_webhook_url("https://example.com/?o={operation}", operation).is_ok());
    }
}

#[test]
fn the_limit_of_200_holds_for_the_url_that_is_sent() {
    let url = format!("https://example.com/?o={PLACEHOLDER}&x={}", "x".repeat(140));
    assert!(fill_webhook_url(&url, "short").is_ok());
    assert!(fill_webhook_url(&url, &"l".repeat(60)).is_err());
    let long = Member::Text(format!("https://example.com/{}", "x".repeat(181)));
    assert!(JobRequest { webhook_url: long, ..JobRequest::default() }.check(Step::Render).is_err());
}

#[test]
fn a_uuid_is_taken_in_either_case_and_nothing_else_is() {
    let id = "3C90c3cc-0d44-4b50-8888-8dd25736052a";
    assert_eq!(job_id(id).as_deref(), Ok("3c90c3cc-0d44-4b50-8888-8dd25736052a"));
    for bad in ["", "3c90c3cc", "3c90c3cc-0d44-4b50-8888-8dd25736052", "3c90c3cc-0d44-4b50-8888-8dd25736052g"] {
        assert_eq!(job_id(bad).expect_err(bad).field, "id");
    }
    assert!(!is_uuid("3c90c3cc00d44-4b50-8888-8dd25736052a"));
    assert!(!is_uuid("3c90c3cc-0d44-4b50-8888-8dd2573605é"), "36 bytes");
}

#[test]
fn every_path_ends_in_a_slash_and_names_its_job() {
    use Endpoint::{Get, PreviewAsync, PreviewSync, RemainingCredits, Render, Submit, Templates};
    for endpoint in [Submit, PreviewSync, PreviewAsync, Render, Get, Templates, RemainingCredits] {
        let path = endpoint.path("ID");
        assert!(path.starts_with("/api/") && path.ends_with('/'), "{path}");
        assert_eq!(path.contains("ID"), matches!(endpoint, Render | Get), "{path}");
        assert_eq!(endpoint.method() == "POST", endpoint.charges().is_some());
    }
}

fn request() -> JobRequest {
    JobRequest {
        template_id: Member::Text("3c90c3cc-0d44-4b50-8888-8dd25736052a".into()),
        variables: Member::Object,
        ..JobRequest::default()
    }
}

#[test]
fn a_request_is_refused_with_the_field_to_mend() {
    assert_eq!(request().check(Step::Submit), Ok(ModelVersion::Standard));
    let text = |text: &str| Member::Text(text.into());
    let cases: [(JobRequest, &str); 9] = [
        (JobRequest { template_id: text("x"), ..request() }, "template_id"),
        (JobRequest { template_id: Member::Unset, ..request() }, "template_id"),
        (JobRequest { variables: Member::List, ..request() }, "variables"),
        (JobRequest { name: text(&"n".repeat(256)), ..request() }, "name"),
        (JobRequest { name: Member::Number(1.0), ..request() }, "name"),
        (JobRequest { webhook_url: text("/relative"), ..request() }, "webhook_url"),
        (JobRequest { webhook_url: text("https://a b"), ..request() }, "webhook_url"),
        (JobRequest { is_hidden: text("yes"), ..request() }, "is_hidden"),
        (JobRequest { model_version: text("aurora"), ..request() }, "model_version"),
    ];
    for (request, field) in cases {
        assert_eq!(request.check(Step::Submit).expect_err(field).field, field);
    }
    assert_eq!(JobRequest::default().check(Step::Render), Ok(ModelVersion::Standard), "a render may give nothing");
}
