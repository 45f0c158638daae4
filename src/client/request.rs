//! The checks of requests and options before anything is sent.

use super::Client;
use super::charging::{Charge, ChargeOptions};
use super::polling::PollOptions;
use crate::api::{self, Endpoint, JobRequest, ModelVersion, Step};
use crate::credits;
use crate::error::Refusal;
use crate::hash;
use crate::host::Host;

/// The advice where a caller's own operation id or budget key needs a journal.
pub(crate) const NO_JOURNAL: &str = "needs a journal that outlives this process: pass fileJournal(dir), \
     durableObjectJournal(storage), or journal: \"memory\" to accept one process";

impl<H: Host> Client<H> {
    /// Checks everything that can be checked without I/O.
    pub(super) fn prepare(
        &self,
        endpoint: Endpoint,
        render: Option<&str>,
        request: Option<&str>,
        options: ChargeOptions,
    ) -> Result<Charge, Refusal> {
        self.check_options(&options)?;
        let ChargeOptions { operation, explicit, seconds, extra, metadata, .. } = options;
        let step = endpoint.charges().unwrap_or(Step::Submit);
        // A render without changes is one operation, with no request as with an empty one.
        let request = request.filter(|text| *text != "{}");
        let render = render.map(api::job_id).transpose()?;
        let host = self.host();
        let value = request.map(|text| self.object(text).ok_or("must be an object with template_id and variables"));
        let value = value.transpose().map_err(|advice| Refusal::new("request", advice))?;
        let members = value.as_ref().map(|value| JobRequest::new(host.members(value, JobRequest::NAMES)));
        let members = members.unwrap_or_default();
        let mut model = members.check(step)?.as_str().to_owned();
        value.as_ref().map_or(Ok(()), |value| self.check_variables(value))?;
        let request = match extra {
            None => request.map(Into::into),
            Some(extra) => {
                if let Some(newer) = self.check_extra(&extra, value.as_ref())? {
                    model = newer;
                }
                Some(api::merged(request, &extra))
            }
        };
        let request = request.as_deref();
        let webhook_url =
            members.webhook_url.text().map(|url| api::fill_webhook_url(url, &operation)).transpose()?.flatten();
        let body = match (&webhook_url, request) {
            (Some(url), Some(request)) => Some(host.with_webhook_url(request, url)),
            _ => request.map(Into::into),
        };
        let history = self.0.history.borrow();
        let template = members.template_id.into_text().map(|id| id.to_ascii_lowercase());
        let template = template.or_else(|| history.find(render.as_deref()?)?.template.clone());
        Ok(Charge {
            endpoint,
            step,
            explicit,
            key: self.key(&operation),
            fingerprint: hash::of_parts(&[
                step.as_str(),
                render.as_deref().unwrap_or_default(),
                request.unwrap_or_default(),
            ]),
            webhook: webhook_url.map(|url| hash::of(url.as_bytes())),
            kind: history.kind(render.as_deref(), template.as_deref(), step, &model),
            operation,
            render,
            given: request.map(Into::into),
            body,
            template,
            model,
            seconds,
            metadata,
            begun: host.now(),
        })
    }

    fn check_options(&self, options: &ChargeOptions) -> Result<(), Refusal> {
        api::check_operation(&options.operation)?;
        if options.explicit && self.config().journal_by_default {
            return Err(Refusal::new("operation", NO_JOURNAL));
        }
        api::check_number("timeout", options.timeout, true)?;
        options.seconds.map_or(Ok(()), credits::check_seconds)?;
        options.metadata.as_deref().map_or(Ok(()), api::check_metadata)
    }

    fn object(&self, json: &str) -> Option<H::Value> {
        self.host().parse(json).filter(|_| json.starts_with('{'))
    }

    fn check_variables(&self, request: &H::Value) -> Result<(), Refusal> {
        let host = self.host();
        let Some(variables) = host.member(request, "variables") else { return Ok(()) };
        for name in host.names(&variables) {
            let Some(variable) = host.member(&variables, &name) else { continue };
            let ([kind], [properties]) = (host.members(&variable, ["type"]), host.members(&variable, ["properties"]));
            api::check_variable(&name, &kind, &properties)?;
        }
        Ok(())
    }

    /// Checks the fields of the option `extra`. Returns the model, if it has one.
    fn check_extra(&self, extra: &str, request: Option<&H::Value>) -> Result<Option<String>, Refusal> {
        let host = self.host();
        let Some(extra) = self.object(extra) else { return Err(Refusal::new("extra", "must be an object")) };
        let mut newer = None;
        for name in host.names(&extra) {
            let is_refused = if name == "model_version" {
                let [model] = host.members(&extra, ["model_version"]);
                let is_given = request.is_some_and(|request| host.member(request, &name).is_some());
                if !is_given && ModelVersion::read(&model).is_err() {
                    newer = model.into_text().filter(|model| !model.is_empty());
                }
                newer.is_none()
            } else {
                name == "seconds" || JobRequest::NAMES.contains(&name.as_str())
            };
            if is_refused {
                return Err(Refusal::new(String::from("extra.") + &name, "is a field of the request; give it there"));
            }
        }
        Ok(newer)
    }
}

impl PollOptions {
    /// Checks the numbers.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        api::check_number("timeout", self.timeout, true)?;
        api::check_number("expectedMs", self.expected_ms, false)?;
        api::check_number("maxInterval", self.max_interval, false)
    }
}
