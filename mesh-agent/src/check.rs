//! `mesh-agent check`: what this kernel and host can do for the mesh.
