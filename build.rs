//! Prepares linking as a Node addon; does nothing for a build without the `node` feature.

fn main() {
    #[cfg(feature = "node")]
    napi_build::setup();

    // Node unloads an addon together with the worker thread that loaded it. Our I/O thread
    // outlives that worker, so the code it runs must stay mapped.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
