//! `POST /cache/purge?service=NAME&path=/p`: kept answers that are known to be bad.

use http::StatusCode;
use serde_json::json;

use super::{Admin, Answer, answers, problem};
use crate::server::query;

/// Removes what is kept of a service, or of one of its paths, whatever the query: in the memory of
/// this instance, and, where a Redis is shared, there and in the memories of all.
pub(super) async fn purge(admin: &Admin, query: Option<&str>) -> Answer {
    let asked = match Asked::read(query.unwrap_or_default()) {
        Ok(asked) => asked,
        Err(why) => return problem(StatusCode::BAD_REQUEST, why),
    };
    let generation = admin.generations.in_force();
    let services = &generation.table.services;
    if !services.iter().any(|known| known.name == asked.service) {
        let detail = format!("there is no service `{}`", asked.service);
        return problem(StatusCode::NOT_FOUND, &detail);
    }
    let (service, path) = (asked.service.as_str(), asked.path.as_deref());
    let shelf = generation.client.shelf();
    // Before, because this instance hears of the purge too, and would have nothing left to count; and
    // afterwards, so that nothing stays that was brought back from there meanwhile.
    let before = shelf.purge(service, path);
    let shared = shelf.purge_shared(service, path).await;
    let memory = before + shelf.purge(service, path);
    let mut body = json!({ "service": service, "path": path, "memory": memory });
    let status = match shared {
        None => StatusCode::OK,
        Some(Ok(redis)) => {
            body["redis"] = redis.into();
            StatusCode::OK
        }
        Some(Err(why)) => {
            body["redis"] = json!(null);
            body["error"] = format!("the Redis was not purged: {why}").into();
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    answers::with_json(status, &body)
}

#[derive(Debug, PartialEq, Eq)]
struct Asked {
    service: String,
    path: Option<String>,
}

impl Asked {
    fn read(query: &str) -> Result<Asked, &'static str> {
        const HELP: &str =
            "say what to purge: /cache/purge?service=NAME, or /cache/purge?service=NAME&path=/p";
        let pairs = query::pairs(query).ok_or("an escape in the query is broken")?;
        let (mut service, mut path) = (None, None);
        for (name, value) in pairs {
            let place = match name.as_str() {
                "service" => &mut service,
                "path" => &mut path,
                _ => return Err(HELP),
            };
            if place.replace(value).is_some() {
                return Err("`service` and `path` may stand there once each");
            }
        }
        match (service, path) {
            (Some(service), path) if !service.is_empty() => match path {
                Some(path) if !path.starts_with('/') => {
                    Err("a path begins with `/`: the one on the service, without its query")
                }
                Some(path) if path.contains('?') => {
                    Err("a path stands without its query: all of them are purged")
                }
                path => Ok(Asked { service, path }),
            },
            _ => Err(HELP),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_purge_is_said_in_the_query() {
        #[track_caller]
        fn check(query: &str, expected: Option<(&str, Option<&str>)>) {
            let found = Asked::read(query).ok();
            let expected = expected.map(|(service, path)| Asked {
                service: service.to_owned(),
                path: path.map(str::to_owned),
            });
            assert_eq!(found, expected, "{query}");
        }
        check("service=a", Some(("a", None)));
        check("service=a&path=/p/1", Some(("a", Some("/p/1"))));
        check("path=%2Fp%20q&service=a", Some(("a", Some("/p q"))));
        check("", None);
        check("service=", None);
        check("path=/p", None);
        check("service=a&path=p", None);
        check("service=a&path=/p?x=1", None);
        check("service=a&service=b", None);
        check("service=a&pth=/p", None);
        check("service=%zz", None);
    }
}
