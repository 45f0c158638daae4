//! The document of `GET /__sandbox/openapi.json`: the provider's own, completed by the sandbox's error answers.

use serde_json::{Map, Value, json};

use crate::templates::Template;

/// The provider's published document: `tests/api/custom_template_jobs.openapi.yaml` as JSON.
pub const PROVIDER: &str = include_str!("../assets/provider.openapi.json");

/// The document of a sandbox at `origin` with these templates.
///
/// # Errors
/// If [`PROVIDER`] is not JSON, which a test rules out.
pub fn document(origin: &str, templates: &[Template]) -> Result<Value, serde_json::Error> {
    let mut document: Value = serde_json::from_str(PROVIDER)?;
    document["info"]["title"] = json!("creatify.ai API, as the sandbox implements it");
    document["info"]["description"] = json!(
        "The provider's calls for custom template jobs. Undocumented behaviour, above all every error answer, is an assumption \
         of the sandbox: see /__sandbox/assumptions."
    );
    document["servers"] = json!([{ "url": origin }]);
    let example = templates
        .first()
        .map(|template| json!({"template_id": template.id.to_string(), "variables": template.defaults(origin)}));
    for (path, operations) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            complete(path, method, operation, example.as_ref());
        }
    }
    let schemas = &mut document["components"]["schemas"];
    // documented: `credits_used` is an integer; elsewhere, a job may cost 5.5 credits.
    schemas["CustomTemplateJob"]["properties"]["credits_used"]["type"] = json!("number");
    // assumed: render needs no body, although the documentation marks two fields as required.
    let mut render = schemas["CustomTemplateJob"].clone();
    render["description"] = json!("The body of render. Every field is optional, and so is the body.");
    if let Some(required) = render["required"].as_array_mut() {
        required.retain(|field| field != "template_id" && field != "variables");
    }
    schemas["CustomTemplateJobRender"] = render;
    schemas["Detail"] = json!({
        "type": "object",
        "required": ["detail"],
        "properties": {"detail": {"type": "string"}},
        "additionalProperties": false,
    });
    schemas["Invalid"] = json!({
        "description": "The errors of single fields, of the whole body, or of the JSON syntax.",
        "anyOf": [
            {"$ref": "#/components/schemas/Detail"},
            {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}, "minItems": 1}},
            {"type": "array", "items": {"type": "string"}, "minItems": 1},
        ],
    });
    Ok(document)
}

/// Adds error answers, links and an example to one call.
fn complete(path: &str, method: &str, operation: &mut Value, example: Option<&Value>) {
    let charges = method == "post";
    let has_id = path.contains("{id}");
    if let Some(body) = operation.get_mut("requestBody") {
        if let Some(content) = body["content"].as_object_mut() {
            // The sandbox accepts only JSON.
            content.retain(|kind, _| kind == "application/json");
        }
        if has_id {
            body["required"] = json!(false);
            body["content"]["application/json"]["schema"]["$ref"] = json!("#/components/schemas/CustomTemplateJobRender");
        } else if let Some(example) = example {
            body["content"]["application/json"]["example"] = example.clone();
        }
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    if charges && !has_id {
        for made in responses.values_mut() {
            made["links"] = json!({
                "look": {"operationId": "custom_template_jobs_retrieve", "parameters": {"id": "$response.body#/id"}},
                "render": {"operationId": "custom_template_jobs_render_create", "parameters": {"id": "$response.body#/id"}},
            });
        }
    }
    let detail = || json!({"application/json": {"schema": {"$ref": "#/components/schemas/Detail"}}});
    let page = || json!({"text/html": {"schema": {"type": "string"}}});
    let mut add = |status: &str, description: &str, content: Value| {
        responses
            .insert(status.to_owned(), json!({"description": description, "content": content, "x-evidence": "assumed"}));
    };
    add("401", "The keys are missing or wrong.", detail());
    if has_id {
        let mut both = detail();
        let html = page();
        if let (Some(both), Some(html)) = (both.as_object_mut(), html.as_object()) {
            both.extend(Map::clone(html));
        }
        add("404", "No such job. The body is an HTML page if the id contains a slash.", both);
    }
    if charges {
        let invalid = json!({"application/json": {"schema": {"$ref": "#/components/schemas/Invalid"}}});
        add("400", "The body is invalid, the credits do not suffice, or the job cannot be rendered now.", invalid);
        add("413", "The body is larger than 2.5 MB.", page());
        add("415", "The body is not JSON.", detail());
        add("422", "With --honour-idempotency-key: the key was used with another body.", detail());
    }
}
