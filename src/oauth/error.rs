use thiserror::Error;

/// An error code of the token endpoint and its neighbours.
///
/// RFC 6749 §5.2, RFC 8707 §2, RFC 6750 §3.1 and RFC 7591 §3.2.2 define all but the last two; those come from RFC 6749 §4.1.2.1 and accompany a 5xx
/// status, because a fault of the server must never read like a fault of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// The request is malformed.
    InvalidRequest,
    /// Client authentication failed.
    InvalidClient,
    /// The authorization grant is not valid.
    InvalidGrant,
    /// This client may not use this grant.
    UnauthorizedClient,
    /// The server has no such grant.
    UnsupportedGrantType,
    /// The scope is malformed, unknown or beyond what was registered.
    InvalidScope,
    /// The resource or audience is malformed or not registered (RFC 8707).
    InvalidTarget,
    /// The bearer token is unknown, expired or revoked (RFC 6750 §3.1).
    InvalidToken,
    /// The client lacks a right (RFC 6750 §3.1).
    InsufficientScope,
    /// A redirection URI is not accepted (RFC 7591 §3.2.2).
    InvalidRedirectUri,
    /// A member of the client's metadata is malformed or not allowed (RFC 7591 §3.2.2).
    InvalidClientMetadata,
    /// The software statement is malformed (RFC 7591 §3.2.2).
    InvalidSoftwareStatement,
    /// The software statement is nobody's whom the server trusts (RFC 7591 §3.2.2).
    UnapprovedSoftwareStatement,
    /// The server failed; nothing the client can mend.
    ServerError,
    /// The server cannot answer for the moment.
    TemporarilyUnavailable,
}

impl ErrorCode {
    /// Every code, in the order of the RFCs.
    pub const ALL: [ErrorCode; 15] = [
        ErrorCode::InvalidRequest,
        ErrorCode::InvalidClient,
        ErrorCode::InvalidGrant,
        ErrorCode::UnauthorizedClient,
        ErrorCode::UnsupportedGrantType,
        ErrorCode::InvalidScope,
        ErrorCode::InvalidTarget,
        ErrorCode::InvalidToken,
        ErrorCode::InsufficientScope,
        ErrorCode::InvalidRedirectUri,
        ErrorCode::InvalidClientMetadata,
        ErrorCode::InvalidSoftwareStatement,
        ErrorCode::UnapprovedSoftwareStatement,
        ErrorCode::ServerError,
        ErrorCode::TemporarilyUnavailable,
    ];

    /// The value of `error` and the HTTP status that goes with it: the one place that knows both.
    const fn row(self) -> (&'static str, u16) {
        match self {
            ErrorCode::InvalidRequest => ("invalid_request", 400),
            ErrorCode::InvalidClient => ("invalid_client", 401),
            ErrorCode::InvalidGrant => ("invalid_grant", 400),
            ErrorCode::UnauthorizedClient => ("unauthorized_client", 400),
            ErrorCode::UnsupportedGrantType => ("unsupported_grant_type", 400),
            ErrorCode::InvalidScope => ("invalid_scope", 400),
            ErrorCode::InvalidTarget => ("invalid_target", 400),
            ErrorCode::InvalidToken => ("invalid_token", 401),
            ErrorCode::InsufficientScope => ("insufficient_scope", 403),
            ErrorCode::InvalidRedirectUri => ("invalid_redirect_uri", 400),
            ErrorCode::InvalidClientMetadata => ("invalid_client_metadata", 400),
            ErrorCode::InvalidSoftwareStatement => ("invalid_software_statement", 400),
            ErrorCode::UnapprovedSoftwareStatement => ("unapproved_software_statement", 400),
            ErrorCode::ServerError => ("server_error", 500),
            ErrorCode::TemporarilyUnavailable => ("temporarily_unavailable", 503),
        }
    }

    /// The value of the member `error`.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        self.row().1
    }
}

/// A refusal that the client may see.
///
/// `description` goes to the client and says how to mend the request; `reason` goes to the log and to tests and tells apart
/// what the client must not be able to tell apart. Neither ever repeats a value of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{}: {reason}", code.as_str())]
pub struct OAuthError {
    /// The member `error`.
    pub code: ErrorCode,
    /// The member `error_description` (RFC 6749 §5.2: printable ASCII without quote and backslash).
    pub description: Option<&'static str>,
    /// Why, for the operator.
    pub reason: &'static str,
}

impl OAuthError {
    /// A refusal whose description tells the operator enough.
    pub const fn new(code: ErrorCode, description: &'static str) -> Self {
        OAuthError {
            code,
            description: Some(description),
            reason: description,
        }
    }

    /// A malformed request.
    pub const fn invalid_request(description: &'static str) -> Self {
        OAuthError::new(ErrorCode::InvalidRequest, description)
    }

    /// Client metadata that is not accepted (RFC 7591 §3.2.2).
    pub const fn invalid_client_metadata(description: &'static str) -> Self {
        OAuthError::new(ErrorCode::InvalidClientMetadata, description)
    }

    /// Failed client authentication. The client learns nothing but the code, whatever the reason (RFC 6749 §5.2).
    pub const fn invalid_client(reason: &'static str) -> Self {
        OAuthError {
            code: ErrorCode::InvalidClient,
            description: None,
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failed_authentication_is_401_and_only_our_own_faults_are_5xx() {
        for code in ErrorCode::ALL {
            let expected = match code {
                ErrorCode::InvalidClient | ErrorCode::InvalidToken => 401,
                ErrorCode::InsufficientScope => 403,
                ErrorCode::ServerError => 500,
                ErrorCode::TemporarilyUnavailable => 503,
                _ => 400,
            };
            assert_eq!(code.status(), expected, "{}", code.as_str());
        }
    }
}
