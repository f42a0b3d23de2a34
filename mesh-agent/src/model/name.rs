//! A type for each kind of name, so that a cluster's name never stands where a listener's belongs.
//!
//! Names are shared, immutable and cheap to clone; they are compared when a snapshot is built, not per request.

use std::fmt;
use std::sync::Arc;

/// Most bytes of a name. Names are keys in tables, in requests and in logs; those of a mesh have some hundred bytes.
pub const LONGEST_NAME: usize = 16 << 10;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The same, shared.
            #[must_use]
            pub fn shared(&self) -> Arc<str> {
                Arc::clone(&self.0)
            }
        }

        impl From<Arc<str>> for $name {
            fn from(text: Arc<str>) -> Self {
                Self(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name!(
    /// Name of a listener (`envoy.config.listener.v3.Listener.name`).
    ListenerName
);
name!(
    /// Name of a cluster (`envoy.config.cluster.v3.Cluster.name`).
    ClusterName
);
name!(
    /// Name of a route configuration (`envoy.config.route.v3.RouteConfiguration.name`).
    RouteConfigName
);
name!(
    /// Name of a workload, unique on the node (`mesh.workloads[].name`).
    WorkloadName
);
