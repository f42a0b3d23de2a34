//! From a tree of fields to the model: the one decode of Envoy's v3 resources, whatever they were written in.
