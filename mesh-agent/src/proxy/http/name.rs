//! Header names the agent itself looks at, as small numbers.
//!
//! A name is recognised once, when a head is parsed; from then on finding, testing and removing such a header compares numbers,
//! and a set of them is one word.

macro_rules! names {
    ($($variant:ident = $text:literal,)+) => {
        /// A header's name, if it is one the agent looks at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        #[expect(clippy::enum_variant_names, reason = "a header is named as its text says")]
        pub(crate) enum Name {
            $(#[doc = concat!("`", stringify!($text), "`.")] $variant,)+
            /// Any other.
            Other,
        }

        impl Name {
            /// Recognises `text`, which must be in lower case.
            pub(crate) fn of(text: &[u8]) -> Self {
                match text {
                    $($text => Self::$variant,)+
                    _ => Self::Other,
                }
            }

            /// The name; empty for [`Name::Other`].
            pub(crate) fn text(self) -> &'static [u8] {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other => b"",
                }
            }
        }
    };
}

names! {
    Connection = b"connection",
    ContentLength = b"content-length",
    ContentType = b"content-type",
    Date = b"date",
    EnvoyDecoratorOperation = b"x-envoy-decorator-operation",
    EnvoyDownstreamServiceCluster = b"x-envoy-downstream-service-cluster",
    EnvoyDownstreamServiceNode = b"x-envoy-downstream-service-node",
    EnvoyDropOverload = b"x-envoy-drop-overload",
    EnvoyExpectedTimeout = b"x-envoy-expected-rq-timeout-ms",
    EnvoyExternalAddress = b"x-envoy-external-address",
    EnvoyForceTrace = b"x-envoy-force-trace",
    EnvoyHedgeOnPerTryTimeout = b"x-envoy-hedge-on-per-try-timeout",
    EnvoyInternal = b"x-envoy-internal",
    EnvoyIpTags = b"x-envoy-ip-tags",
    EnvoyMaxRetries = b"x-envoy-max-retries",
    EnvoyOriginalHost = b"x-envoy-original-host",
    EnvoyOriginalPath = b"x-envoy-original-path",
    EnvoyOriginalUrl = b"x-envoy-original-url",
    EnvoyRetriableHeaderNames = b"x-envoy-retriable-header-names",
    EnvoyRetriableStatusCodes = b"x-envoy-retriable-status-codes",
    EnvoyRetryGrpcOn = b"x-envoy-retry-grpc-on",
    EnvoyRetryOn = b"x-envoy-retry-on",
    EnvoyUnconditionalDropOverload = b"x-envoy-unconditional-drop-overload",
    EnvoyUpstreamAltStatName = b"x-envoy-upstream-alt-stat-name",
    EnvoyUpstreamPerTryTimeout = b"x-envoy-upstream-rq-per-try-timeout-ms",
    EnvoyUpstreamServiceTime = b"x-envoy-upstream-service-time",
    EnvoyUpstreamTimeout = b"x-envoy-upstream-rq-timeout-ms",
    EnvoyUpstreamTimeoutAltResponse = b"x-envoy-upstream-rq-timeout-alt-response",
    Expect = b"expect",
    GrpcMessage = b"grpc-message",
    GrpcStatus = b"grpc-status",
    Host = b"host",
    Http2Settings = b"http2-settings",
    KeepAlive = b"keep-alive",
    Location = b"location",
    ProxyConnection = b"proxy-connection",
    Referer = b"referer",
    Server = b"server",
    Te = b"te",
    Trailer = b"trailer",
    TransferEncoding = b"transfer-encoding",
    Upgrade = b"upgrade",
    Via = b"via",
    XForwardedFor = b"x-forwarded-for",
    XForwardedHost = b"x-forwarded-host",
    XForwardedProto = b"x-forwarded-proto",
    XRequestId = b"x-request-id",
}

/// A set of known names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameSet(u64);

impl NameSet {
    /// The set of these names. [`Name::Other`] is in no set.
    pub(crate) const fn of(names: &[Name]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < names.len() {
            bits |= bit(names[at]);
            at += 1;
        }
        Self(bits)
    }

    pub(crate) const fn contains(self, name: Name) -> bool {
        self.0 & bit(name) != 0
    }

    pub(crate) const fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn insert(&mut self, name: Name) {
        self.0 |= bit(name);
    }

    pub(crate) fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

const fn bit(name: Name) -> u64 {
    match name {
        Name::Other => 0,
        name => 1 << name as u64,
    }
}

const _: () = assert!((Name::Other as usize) <= u64::BITS as usize, "one bit for each known name");
