//! The content of a preview or a video: its scenes and cards. `pages` and `video` draw it.

use crate::engine::Showing;
use crate::pictures::Outcome;

/// The most scenes of a storyboard.
const SCENES: usize = 16;
/// The most cards of a storyboard.
const CARDS: usize = 8;
/// The most characters of a text.
const TEXT: usize = 360;

/// A text that is shown for some time.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// The time when it appears, in seconds.
    pub start: f64,
    /// The time when it disappears, in seconds.
    pub end: f64,
    /// The label of the variable.
    pub label: String,
    /// The text; not empty.
    pub text: String,
}

/// A variable that is not text.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// Its type, by its name in JSON.
    pub kind: String,
    /// Its label.
    pub label: String,
    /// A short form of its value: a file name, or the start of an id.
    pub value: String,
    /// Its URL, if it has one.
    pub url: Option<String>,
    /// The image, or the reason why it is not drawn; `None` before the fetch and for other types.
    pub picture: Option<Outcome>,
}

/// The content of a preview or a video.
#[derive(Debug, Clone, PartialEq)]
pub struct Storyboard {
    /// The template's name.
    pub template: String,
    /// The job's own name.
    pub name: Option<String>,
    /// The job's id.
    pub job: Option<String>,
    /// Length in seconds.
    pub seconds: f64,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Start and end of the background gradient, and the accent: `0xRRGGBB`.
    pub colors: [u32; 3],
    /// The scenes, from 0 to the end without gaps; never empty.
    pub scenes: Vec<Scene>,
    /// The media and voices.
    pub cards: Vec<Card>,
}

impl Storyboard {
    /// The storyboard of a job: its variables in the template's order, then variables that the template does not have.
    pub fn new(showing: &Showing) -> Self {
        let template = &showing.template;
        let known = template.variables.iter().map(|variable| (variable.name.as_str(), variable.label.as_str()));
        let unknown = showing
            .variables
            .keys()
            .filter(|name| template.variables.iter().all(|variable| variable.name != **name))
            .map(|name| (name.as_str(), name.as_str()));
        let mut texts = Vec::new();
        let mut cards = Vec::new();
        // documented: a text variable without a value is an empty string. It is not shown.
        for (name, label) in known.chain(unknown) {
            let Some(value) = showing.variables.get(name) else { continue };
            let properties = &value["properties"];
            let kind = value["type"].as_str().unwrap_or("text");
            let label = clip(label, 40);
            if kind == "text" {
                let content = properties["content"].as_str().or_else(|| value.as_str()).unwrap_or_default();
                let content = clip(&visible(content), TEXT);
                if !content.is_empty() && texts.len() < SCENES {
                    texts.push((label, content));
                }
                continue;
            }
            let url = properties["url"].as_str();
            let id = properties["avatar_id"].as_str().or_else(|| properties["voice_id"].as_str());
            let value = match (url, id) {
                (Some(url), _) => clip(file_name(url), 32),
                (None, Some(id)) => clip(id, 14),
                (None, None) => continue,
            };
            if cards.len() < CARDS {
                cards.push(Card {
                    kind: clip(kind, 12),
                    label,
                    value: visible(&value),
                    url: url.map(str::to_owned),
                    picture: None,
                });
            }
        }
        if texts.is_empty() {
            let title = showing.name.as_deref().unwrap_or(&template.name);
            texts.push((String::new(), clip(&visible(title), TEXT)));
        }
        let each = template.seconds / texts.len() as f64;
        let scenes = texts
            .into_iter()
            .enumerate()
            .map(|(index, (label, text))| Scene { start: each * index as f64, end: each * (index + 1) as f64, label, text })
            .collect();
        Self {
            template: clip(&visible(&template.name), 60),
            name: showing.name.as_deref().map(|name| clip(&visible(name), 80)),
            job: showing.job.map(|id| id.to_string()),
            seconds: template.seconds,
            width: template.width,
            height: template.height,
            colors: template.colors,
            scenes,
            cards,
        }
    }
}

/// Text without control characters, each run of white space replaced by one space.
fn visible(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

fn clip(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let start: String = text.chars().take(limit.saturating_sub(1)).collect();
    format!("{}…", start.trim_end())
}

/// The last part of a URL's path; for a `data:` URL its media type.
fn file_name(url: &str) -> &str {
    if url.starts_with("data:") {
        return url.split([';', ',']).next().unwrap_or_default();
    }
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// The displayed name of a variable type.
pub fn kind_words(kind: &str) -> &str {
    match kind {
        "image" => "Image",
        "video" => "Video",
        "audio" => "Music",
        "avatar" => "Presenter",
        "voiceover" => "Voice",
        other => other,
    }
}

/// A text variable in the form of a request.
#[cfg(test)]
pub(crate) fn text_variable(content: &str) -> serde_json::Value {
    serde_json::json!({"type": "text", "properties": {"content": content}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::templates::built_in;

    fn showing(template: usize) -> Showing {
        let template = built_in()[template].clone();
        Showing { job: None, name: None, variables: template.defaults("http://127.0.0.1:1"), template }
    }

    #[test]
    fn scenes_cover_the_whole_length_without_gaps() {
        for template in 0..built_in().len() {
            let board = Storyboard::new(&showing(template));
            assert!(board.scenes[0].start.abs() < 1e-9);
            assert!((board.scenes.last().unwrap().end - board.seconds).abs() < 1e-9);
            assert!(board.scenes.windows(2).all(|pair| (pair[0].end - pair[1].start).abs() < 1e-9));
        }
    }

    #[test]
    fn variables_of_any_shape_are_shown_or_skipped() {
        let mut showing = showing(0);
        showing.variables = serde_json::from_value(serde_json::json!({
            "headline": text_variable(&"long ".repeat(1000)),
            "offer": text_variable(" \n\t "),
            "a": null, "b": 5, "c": [], "d": {"type": 7}, "e": {"type": "image"}, "f": "plain",
            "g": {"type": "image", "properties": {"url": "https://example.com/a/photo.jpg?x=1"}},
            "h": {"type": "image", "properties": {"url": "data:image/png;base64,a/b"}},
        }))
        .unwrap();
        let board = Storyboard::new(&showing);
        let texts: Vec<_> = board.scenes.iter().map(|scene| scene.text.chars().count()).collect();
        assert!(texts.iter().all(|length| *length <= TEXT), "{texts:?}");
        assert_eq!(board.scenes.len(), 2);
        assert_eq!([&board.cards[0].value, &board.cards[1].value], ["photo.jpg", "data:image/png"]);
    }
}
