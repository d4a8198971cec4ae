//! What a failure becomes: the table of `resilience.md` §4 as one enum.

/// Why a call, or a whole request, failed. `name()` is what goes to `errors`, problem bodies and labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    ConnectRefused,
    ConnectUnreachable,
    ConnectTimeout,
    DnsFailure,
    DnsTimeout,
    /// The handshake failed; the two after it are the same but for Proxy-Status.
    TlsFailure,
    TlsCertificate,
    TlsAlert,
    StaleConnection,
    RefusedStream,
    Reset,
    TryTimeout,
    Timeout,
    Truncated,
    ProtocolError,
    TooLarge,
    BadPayload,
    JsonLimit,
    Service5xx,
    ServiceUnavailable,
    ServiceLimited,
    Service4xx,
    DeadlineExhausted,
    BreakerOpen,
    BulkheadFull,
    QueueTimeout,
    MemoryShed,
    DependencyFailed,
    MissingValue,
    BadValue,
    /// Of a `batch`: an element has no key, or the answer no row for it.
    MissingRow,
    UnexpectedStatus,
    LoopDetected,
    Internal,
    Overloaded,
    ClientGone,
    // At the door.
    BadRequest,
    InvalidInput,
    NoRoute,
    MethodNotAllowed,
    RequestTimeout,
    BodyTooLarge,
    UriTooLong,
    UnsupportedMediaType,
    HeadersTooLarge,
    UnknownMethod,
    VersionNotSupported,
}

impl Code {
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The status a client gets when this decides the answer. `service_unavailable` hands on the
    /// status it was given, `service_4xx` and others may be overruled by `pass_status`.
    pub fn status(self) -> u16 {
        self.row().1
    }

    /// The `error` of Proxy-Status (RFC 9209); `None` where the table has only `received-status`.
    pub fn proxy_status(self) -> Option<&'static str> {
        let text = self.row().2;
        (!text.is_empty()).then_some(text)
    }

    /// A short title for problem bodies.
    pub fn title(self) -> &'static str {
        self.row().3
    }

    /// The request surely never arrived at the service (`only: not_sent`, the word `connect`).
    pub fn is_not_sent(self) -> bool {
        matches!(
            self,
            Code::ConnectRefused
                | Code::ConnectUnreachable
                | Code::ConnectTimeout
                | Code::DnsFailure
                | Code::DnsTimeout
                | Code::RefusedStream
                | Code::DeadlineExhausted
                | Code::BreakerOpen
                | Code::BulkheadFull
                | Code::QueueTimeout
        )
    }

    fn row(self) -> (&'static str, u16, &'static str, &'static str) {
        match self {
            Code::ConnectRefused => (
                "connect_refused",
                502,
                "connection_refused",
                "A service refused the connection",
            ),
            Code::ConnectUnreachable => (
                "connect_unreachable",
                502,
                "destination_ip_unroutable",
                "A service cannot be reached",
            ),
            Code::ConnectTimeout => (
                "connect_timeout",
                504,
                "connection_timeout",
                "A service could not be connected in time",
            ),
            Code::DnsFailure => (
                "dns_failure",
                502,
                "dns_error",
                "A service's name could not be resolved",
            ),
            Code::DnsTimeout => (
                "dns_timeout",
                504,
                "dns_timeout",
                "A service's name could not be resolved in time",
            ),
            Code::TlsFailure => (
                "tls_failure",
                502,
                "tls_protocol_error",
                "No secure connection to a service",
            ),
            Code::TlsCertificate => (
                "tls_failure",
                502,
                "tls_certificate_error",
                "No secure connection to a service",
            ),
            Code::TlsAlert => (
                "tls_failure",
                502,
                "tls_alert_received",
                "No secure connection to a service",
            ),
            Code::StaleConnection => (
                "stale_connection",
                502,
                "connection_terminated",
                "A service closed the connection",
            ),
            Code::RefusedStream => (
                "refused_stream",
                502,
                "connection_terminated",
                "A service refused the stream",
            ),
            Code::Reset => (
                "reset",
                502,
                "connection_terminated",
                "A service broke the connection",
            ),
            Code::TryTimeout => (
                "try_timeout",
                504,
                "http_response_timeout",
                "A service did not answer in time",
            ),
            Code::Timeout => (
                "timeout",
                504,
                "http_response_timeout",
                "A service did not answer in time",
            ),
            Code::Truncated => (
                "truncated",
                502,
                "http_response_incomplete",
                "A service's answer was cut short",
            ),
            Code::ProtocolError => (
                "protocol_error",
                502,
                "http_protocol_error",
                "A service's answer is not HTTP",
            ),
            Code::TooLarge => (
                "too_large",
                502,
                "http_response_body_size",
                "A service's answer is too large",
            ),
            Code::BadPayload => (
                "bad_payload",
                502,
                "http_protocol_error",
                "A service's answer is not valid JSON",
            ),
            Code::JsonLimit => (
                "json_limit",
                502,
                "http_protocol_error",
                "A service's answer is too deep or has too many values",
            ),
            Code::Service5xx => ("service_5xx", 502, "", "A service failed"),
            Code::ServiceUnavailable => {
                ("service_unavailable", 503, "", "A service is unavailable")
            }
            Code::ServiceLimited => ("service_limited", 503, "", "A service limits requests"),
            Code::Service4xx => ("service_4xx", 502, "", "A service refused the request"),
            Code::DeadlineExhausted => (
                "deadline_exhausted",
                504,
                "http_response_timeout",
                "Not enough time was left",
            ),
            Code::BreakerOpen => (
                "breaker_open",
                503,
                "destination_unavailable",
                "A service is failing and is given a rest",
            ),
            Code::BulkheadFull => (
                "bulkhead_full",
                503,
                "connection_limit_reached",
                "Too many requests to a service are under way",
            ),
            Code::QueueTimeout => (
                "queue_timeout",
                503,
                "connection_limit_reached",
                "Too many requests to a service are waiting",
            ),
            Code::MemoryShed => (
                "memory_shed",
                503,
                "proxy_internal_response",
                "Too little memory is left",
            ),
            Code::DependencyFailed => (
                "dependency_failed",
                502,
                "",
                "A call that this one needs had failed",
            ),
            Code::MissingValue => ("missing_value", 502, "", "A value is missing"),
            Code::BadValue => (
                "bad_value",
                400,
                "",
                "A value may not stand where it is needed",
            ),
            Code::MissingRow => (
                "missing_row",
                502,
                "",
                "An answer for many has no row for an element",
            ),
            Code::UnexpectedStatus => (
                "unexpected_status",
                502,
                "",
                "A service answered with an unexpected status",
            ),
            Code::LoopDetected => (
                "loop_detected",
                502,
                "proxy_loop_detected",
                "The request came back to this proxy",
            ),
            Code::Internal => ("internal", 500, "proxy_internal_error", "Internal error"),
            Code::Overloaded => ("overloaded", 503, "proxy_internal_response", "Too busy"),
            Code::ClientGone => ("client_gone", 499, "", "The client went away"),
            Code::BadRequest => ("bad_request", 400, "", "Bad request"),
            Code::InvalidInput => (
                "invalid_input",
                400,
                "",
                "The request does not fit the route's input",
            ),
            Code::NoRoute => ("no_route", 404, "", "No such route"),
            Code::MethodNotAllowed => ("method_not_allowed", 405, "", "Method not allowed"),
            Code::RequestTimeout => (
                "request_timeout",
                408,
                "",
                "The request took too long to arrive",
            ),
            Code::BodyTooLarge => ("body_too_large", 413, "", "The request's body is too large"),
            Code::UriTooLong => ("uri_too_long", 414, "", "The request's target is too long"),
            Code::UnsupportedMediaType => (
                "unsupported_media_type",
                415,
                "",
                "The request's body is not JSON by its content type",
            ),
            Code::HeadersTooLarge => (
                "headers_too_large",
                431,
                "",
                "The request's headers are too large",
            ),
            Code::UnknownMethod => ("unknown_method", 501, "", "Unknown method"),
            Code::VersionNotSupported => (
                "version_not_supported",
                505,
                "",
                "HTTP version not supported",
            ),
        }
    }
}
