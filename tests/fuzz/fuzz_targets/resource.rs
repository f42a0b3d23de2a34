//! Resources of a control plane: any bytes are a resource or a refusal that says why, on one line.
//!
//! The first byte says which kind. What is good goes into a builder of snapshots, which must take whatever makes sense by itself.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use mesh_agent::model::resource::ResourceKind;
use mesh_agent::protobuf;
use mesh_agent::snapshot::{Builder, Change};

fuzz_target!(|input: &[u8]| {
    let Some((first, message)) = input.split_first() else { return };
    let kind = ResourceKind::ALL[usize::from(*first) % ResourceKind::ALL.len()];
    match protobuf::resource(kind, message) {
        Ok(resource) => {
            let name = Arc::from(resource.name());
            let mut builder = Builder::default();
            builder.apply(vec![Change::Put(resource)]);
            loop {
                let needs: Vec<_> = builder.waiting().map(|(.., need)| Change::GiveUp(need.clone())).collect();
                if needs.is_empty() {
                    break;
                }
                builder.apply(needs);
            }
            builder.apply(vec![Change::Remove(kind, name)]);
        }
        Err(refusal) => {
            assert!(!refusal.problems.is_empty());
            let said = refusal.to_string();
            assert!(said.chars().all(|c| !c.is_control()), "{said:?}");
        }
    }
});
