//! Routes of the provider's API.

/// The provider's seven calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// `POST /api/custom_template_jobs/`
    Submit,
    /// `POST /api/custom_template_jobs/preview/`
    Preview,
    /// `POST /api/custom_template_jobs/preview_async/`
    PreviewAsync,
    /// `POST /api/custom_template_jobs/{id}/render/`
    Render,
    /// `GET /api/custom_template_jobs/{id}/`
    Get,
    /// `GET /api/custom_templates/`
    Templates,
    /// `GET /api/remaining_credits/`
    Credits,
}

impl Call {
    const ALL: [Self; 7] =
        [Self::Submit, Self::Preview, Self::PreviewAsync, Self::Render, Self::Get, Self::Templates, Self::Credits];

    /// The name in fault rules and in the log of requests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Preview => "preview",
            Self::PreviewAsync => "preview_async",
            Self::Render => "render",
            Self::Get => "get",
            Self::Templates => "templates",
            Self::Credits => "credits",
        }
    }

    /// The call with this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|call| call.name() == name)
    }

    /// The method of the call. Calls with `GET` also accept `HEAD`.
    // assumed: jobs cannot be listed, changed or deleted, since no such call is documented.
    pub fn method(self) -> &'static str {
        match self {
            Self::Submit | Self::Preview | Self::PreviewAsync | Self::Render => "POST",
            Self::Get | Self::Templates | Self::Credits => "GET",
        }
    }

    /// Whether the call creates, changes or reads a job.
    pub fn concerns_a_job(self) -> bool {
        !matches!(self, Self::Templates | Self::Credits)
    }
}

/// The result of routing a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// One of the calls, with the job id from its path if it has one.
    Call(Call, &'a str),
    /// A call's path without the trailing slash.
    Slash,
    /// An unknown path.
    Unknown,
}

/// Routes a path without its query.
pub fn route(path: &str) -> Route<'_> {
    let Some(rest) = path.strip_prefix("/api/") else {
        return Route::Unknown;
    };
    let parts: Vec<&str> = rest.split('/').collect();
    match parts.as_slice() {
        ["custom_template_jobs", ""] => Route::Call(Call::Submit, ""),
        ["custom_template_jobs", "preview", ""] => Route::Call(Call::Preview, ""),
        ["custom_template_jobs", "preview_async", ""] => Route::Call(Call::PreviewAsync, ""),
        ["custom_template_jobs", id, ""] if !id.is_empty() => Route::Call(Call::Get, id),
        ["custom_template_jobs", id, "render", ""] if !id.is_empty() => Route::Call(Call::Render, id),
        ["custom_templates", ""] => Route::Call(Call::Templates, ""),
        ["remaining_credits", ""] => Route::Call(Call::Credits, ""),
        ["custom_template_jobs" | "custom_templates" | "remaining_credits"] => Route::Slash,
        ["custom_template_jobs", id] | ["custom_template_jobs", id, "render"] if !id.is_empty() => Route::Slash,
        _ => Route::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_seven_paths_exist() {
        for (path, wanted) in [
            ("/api/custom_template_jobs/", Route::Call(Call::Submit, "")),
            ("/api/custom_template_jobs/preview/", Route::Call(Call::Preview, "")),
            ("/api/custom_template_jobs/preview_async/", Route::Call(Call::PreviewAsync, "")),
            ("/api/custom_template_jobs/a-b/", Route::Call(Call::Get, "a-b")),
            ("/api/custom_template_jobs/a-b/render/", Route::Call(Call::Render, "a-b")),
            ("/api/custom_templates/", Route::Call(Call::Templates, "")),
            ("/api/remaining_credits/", Route::Call(Call::Credits, "")),
            ("/api/custom_templates", Route::Slash),
            ("/api/custom_template_jobs/a-b", Route::Slash),
            ("/api/custom_template_jobs/a-b/render", Route::Slash),
            ("/api/custom_template_jobs//", Route::Unknown),
            ("/api/custom_template_jobs/a/b/c/", Route::Unknown),
            ("/api/", Route::Unknown),
            ("/", Route::Unknown),
        ] {
            assert_eq!(route(path), wanted, "{path}");
        }
    }
}
