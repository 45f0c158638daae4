//! HTML pages: previews, the editor placeholder and the list of assumptions; and the sample images.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use serde::Deserialize;
use url::Url;
use uuid::Uuid;

use crate::app::App;
use crate::assumptions::{self, Grade};
use crate::exchange::plain;
use crate::message;
use crate::pictures::Picture;
use crate::samples;
use crate::storyboard::{Card, Storyboard, kind_words};

// documented: `preview` is the URL of a page that plays the preview in an iframe, not of a video file.
/// `GET /preview/{token}`: the storyboard of a job. The unguessable token is the only credential.
pub async fn preview(State(app): State<Arc<App>>, Path(token): Path<String>, headers: HeaderMap) -> Response {
    let showing = Uuid::try_parse(&token).ok().and_then(|token| app.engine().preview(app.now(), token));
    match showing {
        Some(showing) => page(&app.board(showing).await, &app.origin(&headers)),
        None => plain(message::not_found()),
    }
}

/// `GET /preview/template/{id}`: the storyboard of a template, filled with its defaults.
pub async fn template_preview(State(app): State<Arc<App>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let origin = app.origin(&headers);
    let showing = Uuid::try_parse(&id).ok().and_then(|id| app.engine().template_preview(id, &origin));
    match showing {
        Some(showing) => page(&app.board(showing).await, &origin),
        None => plain(message::not_found()),
    }
}

/// `GET /samples/{name}`: the images of the built-in templates.
pub async fn sample(Path(name): Path<String>) -> Response {
    let Some(image) = samples::named(&name) else {
        return plain(message::not_found());
    };
    let headers = [
        (header::CONTENT_TYPE, "image/png"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, image).into_response()
}

#[derive(Debug, Deserialize)]
pub struct Expiry {
    expires: Option<u64>,
}

/// `GET /editor/{token}?expires=`: a placeholder for the provider's editor; 403 after the link has expired.
pub async fn editor(State(app): State<Arc<App>>, Path(token): Path<String>, Query(expiry): Query<Expiry>) -> Response {
    let (showing, now) = {
        let engine = app.engine();
        let now = engine.time(app.now()) / 1000;
        let showing = Uuid::try_parse(&token).ok().and_then(|token| engine.preview(app.now(), token));
        (showing, now)
    };
    let Some(showing) = showing else {
        return plain(message::not_found());
    };
    if expiry.expires.is_none_or(|expires| now >= expires) {
        return (StatusCode::FORBIDDEN, Html("<!doctype html><title>Expired</title><h1>This editor link has expired</h1>"))
            .into_response();
    }
    let job = showing.job.map(|id| id.to_string()).unwrap_or_default();
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Editor</title><style>{PLAIN}</style><main><h1>The editor would open here</h1>\
         <p>The sandbox has no editor. This link belongs to job <code>{}</code> of the template {}.</p></main></html>",
        escape(&job),
        escape(&showing.template.name)
    ))
    .into_response()
}

const PLAIN: &str = "body{font:16px/1.6 system-ui,sans-serif;margin:0;color-scheme:light dark}\
main{max-width:40rem;margin:15vh auto;padding:0 1.5rem}code{overflow-wrap:anywhere}";

/// Escapes text for HTML content and quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// The storyboard as one page, which works in a sandboxed frame: it has no script and loads nothing from other hosts.
fn page(board: &Storyboard, origin: &str) -> Response {
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; img-src {origin} data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors *"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::CACHE_CONTROL, "private, max-age=60".to_owned()),
    ];
    (headers, html(board, origin)).into_response()
}

fn html(board: &Storyboard, origin: &str) -> String {
    let [from, to, accent] = board.colors;
    let mut keyframes = String::new();
    let mut scenes = String::new();
    let several = board.scenes.len() > 1;
    for (index, scene) in board.scenes.iter().enumerate() {
        let percent = |second: f64| second / board.seconds * 100.0;
        let fade = percent(0.45_f64.min((scene.end - scene.start) / 4.0));
        let (start, end) = (percent(scene.start), percent(scene.end));
        if several {
            // The first scene is visible at once, so that the page never starts empty.
            let enter = if index == 0 {
                "0%{opacity:1;transform:none}".to_owned()
            } else {
                format!(
                    "0%,{start:.3}%{{opacity:0;transform:translateY(4%)}}{:.3}%{{opacity:1;transform:none}}",
                    start + fade
                )
            };
            let leave = if index + 1 == board.scenes.len() {
                "100%{opacity:1;transform:none}".to_owned()
            } else {
                format!(
                    "{:.3}%{{opacity:1;transform:none}}{end:.3}%,100%{{opacity:0;transform:translateY(-3%)}}",
                    end - fade
                )
            };
            let _ = write!(keyframes, "@keyframes s{index}{{{enter}{leave}}}#s{index}{{animation-name:s{index}}}");
        }
        let size = match scene.text.chars().count() {
            0..=18 => "xl",
            19..=45 => "l",
            46..=110 => "m",
            _ => "s",
        };
        let label = if scene.label.is_empty() { String::new() } else { format!("<h2>{}</h2>", escape(&scene.label)) };
        let _ = write!(
            scenes,
            "<section id=\"s{index}\" class=\"{size}\">{label}<p dir=\"auto\">{}</p></section>",
            escape(&scene.text)
        );
    }
    let mut pictures = String::new();
    let mut chips = String::new();
    for card in &board.cards {
        let label = escape(&card.label);
        let value = escape(&card.value);
        match (card.kind.as_str(), &card.picture) {
            ("image", Some(Ok(picture))) => {
                let source = source(card, picture, origin);
                let _ = write!(pictures, "<img src=\"{}\" alt=\"{label}\">", escape(&source));
            }
            ("image", other) => {
                let why = match other {
                    Some(Err(why)) => format!("Not drawn: {}", escape(why)),
                    _ => "Not drawn".to_owned(),
                };
                let _ = write!(pictures, "<div>{LANDSCAPE}<b>{label}</b><span>{value}</span><small>{why}</small></div>");
            }
            (kind, _) => {
                let _ = write!(chips, "<li><b>{}</b><span>{value}</span></li>", escape(kind_words(kind)));
            }
        }
    }
    if !pictures.is_empty() {
        pictures = format!("<div class=\"pictures\">{pictures}</div>");
    }
    if !chips.is_empty() {
        chips = format!("<ul>{chips}</ul>");
    }
    let title = board.name.as_deref().unwrap_or(&board.template);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Preview: {title}</title>\n\
         <style>:root{{--w:{width};--h:{height};--from:#{from:06x};--to:#{to:06x};--accent:#{accent:06x};--time:{seconds}s}}\
         {STYLE}{keyframes}</style>\n</head>\n<body>\n<main><div class=\"frame\">\n<header><h1>{template}</h1><span>Preview</span></header>\n\
         {pictures}<div class=\"scenes\">{scenes}</div>\n{chips}</div><footer><i></i></footer></main>\n</body>\n</html>\n",
        title = escape(title),
        template = escape(&board.template),
        width = board.width,
        height = board.height,
        seconds = board.seconds,
    )
}

/// The URL of an image in a page: the address of a sample, or a `data:` URL for any other image.
fn source(card: &Card, picture: &Picture, origin: &str) -> String {
    let sample = card.url.as_deref().and_then(|url| Url::parse(url).ok()).and_then(|url| samples::at(&url));
    match sample {
        Some((name, _)) => format!("{origin}/samples/{name}"),
        None => picture.data_url(),
    }
}

const LANDSCAPE: &str = "<svg viewBox=\"0 0 24 16\" aria-hidden=\"true\"><circle cx=\"17\" cy=\"4.5\" r=\"2.5\"/>\
<path d=\"M1 15 8.5 5l5 6.7L16 8.5 23 15z\"/></svg>";

const STYLE: &str = "\
*{box-sizing:border-box;margin:0}\
html,body{height:100%;background:#0b0d12;overflow:hidden}\
body{display:grid;place-items:center;font-family:Inter,system-ui,-apple-system,'Segoe UI',sans-serif;color:#fff}\
main{position:relative;width:min(100vw,calc(100vh*var(--w)/var(--h)));aspect-ratio:var(--w)/var(--h);overflow:hidden;\
container-type:size;\
background:radial-gradient(120% 90% at 85% 0%,color-mix(in srgb,var(--accent) 26%,transparent),transparent 60%),\
linear-gradient(160deg,var(--from),var(--to))}\
.frame{height:100%;display:flex;flex-direction:column;padding:7cqmin 7cqmin 8cqmin;gap:4cqmin}\
header{display:flex;justify-content:space-between;align-items:center;font-size:3.4cqmin}\
h1{font-size:inherit;font-weight:600;letter-spacing:.01em}\
header span{border:1px solid rgb(255 255 255/.4);border-radius:9cqmin;padding:.35em .9em;font-size:.85em}\
.pictures{display:flex;gap:3cqmin;flex:0 1 auto;min-height:0;height:46cqh}\
.pictures img{flex:1;min-width:0;height:100%;object-fit:cover;border-radius:3.5cqmin;box-shadow:0 2cqmin 6cqmin rgb(0 0 0/.35)}\
.pictures div{flex:1;min-width:0;height:100%;display:flex;flex-direction:column;align-items:center;justify-content:center;gap:1.2cqmin;\
padding:3cqmin;border-radius:3.5cqmin;border:.4cqmin dashed rgb(255 255 255/.45);background:rgb(255 255 255/.12);font-size:3cqmin;\
text-align:center;overflow-wrap:anywhere;overflow:hidden}.pictures svg{width:22cqmin;flex:0 1 auto;min-height:0;fill:var(--accent)}\
.pictures small{font-size:2.7cqmin}\
.scenes{position:relative;flex:1;display:grid;align-items:end}\
section{grid-area:1/1;animation:linear infinite both;animation-duration:var(--time)}\
h2{font-size:3.2cqmin;font-weight:600;color:var(--accent);letter-spacing:.04em;margin-bottom:.7em}\
p{font-weight:750;line-height:1.12;letter-spacing:-.02em;text-wrap:balance;overflow-wrap:anywhere}\
.xl p{font-size:14cqmin}.l p{font-size:10cqmin}.m p{font-size:7cqmin;line-height:1.2}.s p{font-size:4.6cqmin;line-height:1.3;letter-spacing:0}\
ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:2cqmin;font-size:2.9cqmin}\
li{display:flex;gap:.6em;background:rgb(0 0 0/.28);border-radius:2cqmin;padding:.55em .9em;max-width:100%}\
li b{color:var(--accent);font-weight:600}li span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}\
footer{position:absolute;inset:auto 0 0;height:1.4cqmin;background:rgb(255 255 255/.18)}\
footer i{display:block;height:100%;background:var(--accent);transform-origin:left;animation:run var(--time) linear infinite}\
@keyframes run{from{transform:scaleX(0)}}\
@container (aspect-ratio>1){.pictures{position:absolute;right:7cqmin;top:18cqmin;width:42cqw;height:66cqh;flex-direction:column}.pictures :is(img,div){width:100%;height:0}\
.pictures~.scenes{width:46cqw}.pictures~.scenes .xl p{font-size:11cqmin}.pictures~.scenes .l p{font-size:9cqmin}}\
@media (prefers-reduced-motion:reduce){section{animation:none!important}footer i{animation:none}\
.scenes{display:flex;flex-direction:column;justify-content:end;gap:3cqmin}.scenes p{font-size:5cqmin!important}}";

/// `GET /__sandbox/assumptions`: documented, observed and assumed behaviour of the provider.
pub async fn assumptions() -> Response {
    let tags = assumptions::tags();
    let mut lists = String::new();
    for grade in Grade::ALL {
        let mut items = String::new();
        let mut count = 0;
        for tag in tags.iter().filter(|tag| tag.grade == grade) {
            count += 1;
            let (text, place) = (escape(&tag.text), escape(&format!("sandbox/src/{}: {}", tag.file, tag.item)));
            let _ = write!(items, "<li>{}. <small>{place}</small></li>", ticked(&text));
        }
        let _ = write!(lists, "<h2>{grade:?} ({count})</h2><p>{}</p><ul>{items}</ul>", escape(grade.meaning()));
    }
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Assumptions</title>\
         <link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"console.css\"></head><body>\
         <header class=\"top\"><h1>Known and assumed behaviour of the provider</h1>\
         <p><a href=\"./\">The console</a></p></header>\
         <main class=\"page\"><div class=\"panel\"><div class=\"text\">{lists}</div></div></main></body></html>"
    );
    let policy = "default-src 'none'; style-src 'self'; img-src data:; frame-ancestors 'none'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response()
}

/// Wraps text between backticks in `<code>`.
fn ticked(text: &str) -> String {
    let mut html = String::new();
    for (index, part) in text.split('`').enumerate() {
        let _ = if index % 2 == 1 { write!(html, "<code>{part}</code>") } else { write!(html, "{part}") };
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Showing;
    use crate::storyboard::text_variable;
    use crate::templates::built_in;

    #[test]
    fn values_of_a_request_are_escaped() {
        let evil = "</p><script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
        let template = built_in()[0].clone();
        let variables = serde_json::from_value(serde_json::json!({
            "headline": text_variable(evil),
            evil: text_variable(evil),
            "product_image": {"type": "image", "properties": {"url": format!("http://127.0.0.1:1/samples/{evil}")}},
            "data": {"type": "image", "properties": {"url": format!("data:{evil}")}},
            "x": {"type": evil, "properties": {"url": format!("https://example.com/{evil}")}},
        }))
        .unwrap();
        let showing = Showing { job: None, name: Some(evil.to_owned()), template, variables };
        let page = html(&Storyboard::new(&showing), "http://127.0.0.1:1");
        assert!(!page.contains("<script") && !page.contains("<img src=x"), "{page}");
        assert!(page.contains("&lt;script&gt;"));
        assert!(!page.contains("/samples/</p>"));
    }

    #[test]
    fn the_page_shows_every_text_and_names_every_medium() {
        let template = built_in()[4].clone();
        let variables = template.defaults("http://127.0.0.1:1");
        let showing = Showing { job: None, name: None, template, variables };
        let page = html(&Storyboard::new(&showing), "http://127.0.0.1:1");
        for text in ["14 Juniper Lane, Bristol", "£640,000", "calm.mp3", "house.png", "garden.png"] {
            assert!(page.contains(text), "{text}");
        }
    }
}
