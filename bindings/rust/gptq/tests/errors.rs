//! Errors with code and text, options, and what the library says of itself.
mod common;
use common::{at_most, load, model_path, Scratch};
use gptq::{Error, ErrorCode, Generation, KeepLogits, Model, Monitor, Options, Quantizer, Session};
use std::os::unix::ffi::OsStrExt;

fn assert_error(error: Error, code: ErrorCode, part: &str) {
    assert_eq!(error.code(), code, "{error}");
    assert!(error.message().contains(part), "{error}");
    assert_eq!(error.to_string(), error.message());
}

#[test]
fn what_is_missing_is_named() {
    assert_error(Model::load("/no/such/model").unwrap_err(), ErrorCode::NotFound, "/no/such/model");
    let model = load();
    assert_error(model.get_int("n_layers").unwrap_err(), ErrorCode::NotFound, "n_layer");
    assert_error(model.get_string("famly").unwrap_err(), ErrorCode::NotFound, "family");
    assert_error(model.session().unwrap().stat("speed").unwrap_err(), ErrorCode::NotFound, "speed");
}

#[test]
fn a_refused_setting_surfaces_where_it_is_used() {
    let model = load();
    let mut session = model.session().unwrap();
    let options = Options::new().set("max_token", 3).temperature(-1.0);
    let error = session.generate_with("Hello", &options).unwrap_err();
    assert_error(error, ErrorCode::InvalidArgument, "max_tokens"); // the nearest, of the first error
    assert_eq!(session.token_count(), 0); // before the prompt was appended
    assert_error(Model::load_with(model_path(), &options).unwrap_err(), ErrorCode::InvalidArgument, "max_token");
    let options = Options::new().context_length(-5);
    assert_error(model.session_with(&options).unwrap_err(), ErrorCode::InvalidArgument, "context_length");
    assert_error(Options::new().set("bits", "4").to_json().unwrap_err(), ErrorCode::InvalidArgument, "bits");
}

#[test]
fn what_is_out_of_order_is_refused() {
    let mut session = load().session().unwrap();
    assert_eq!(session.resume(&Options::new()).unwrap_err().code(), ErrorCode::BadState);
    assert_eq!(session.prefill(KeepLogits::None).unwrap_err().code(), ErrorCode::BadState);
    assert_eq!(session.append_tokens(&[-1]).unwrap_err().code(), ErrorCode::InvalidArgument);
}

#[test]
fn a_nul_is_refused_where_c_ends_at_it() {
    let model = load();
    let refused = [
        Model::load("a\0b").unwrap_err(),
        Quantizer::create("a", "b\0c").unwrap_err(),
        model.get_int("n_layer\0").unwrap_err(),
        model.get_string("\0").unwrap_err(),
        model.special_token("bos\0").unwrap_err(),
        model.session().unwrap().stat("cache\0bytes").unwrap_err(),
        Options::new().set("seed\0", 1).to_json().unwrap_err(),
        Options::new().device("cpu\0").to_json().unwrap_err(),
    ];
    for error in refused {
        assert_error(error, ErrorCode::InvalidArgument, "NUL");
    }
    assert!(!gptq::has_feature("cpu\0"));
}

#[test]
fn a_path_need_not_be_unicode() {
    let scratch = Scratch::new("path");
    let link = scratch.0.join(std::ffi::OsStr::from_bytes(b"model-\xFF"));
    std::os::unix::fs::symlink(std::fs::canonicalize(model_path()).unwrap(), &link).unwrap();
    Model::load_with(&link, &Options::new().load_weights(false)).unwrap();
}

#[test]
fn codes_and_numbers_are_the_same() {
    let known: Vec<ErrorCode> =
        (-99..0).map(ErrorCode::from).filter(|code| !matches!(code, ErrorCode::Other(_))).collect();
    let named = (-99..0).filter(|&status| ErrorCode::Other(status).to_string().starts_with("GPTQ_ERROR_"));
    let named: Vec<i32> =
        named.filter(|&status| ErrorCode::Other(status).to_string() != ErrorCode::Other(-98).to_string()).collect();
    assert_eq!(known.iter().map(|code| code.status()).collect::<Vec<_>>(), named);
    assert_eq!(ErrorCode::Cancelled.status(), -1);
    assert_eq!(ErrorCode::Corrupt.to_string(), "GPTQ_ERROR_CORRUPT");
    assert_eq!(ErrorCode::from(-98), ErrorCode::Other(-98));
}

#[test]
fn options_go_to_json_and_back() {
    let options = Options::new().temperature(0.1).seed(9007199254740991).order("act").sym(false).set("top_k", 5_i64);
    let json = options.to_json().unwrap();
    assert_eq!(json, r#"{"order":"act","seed":9007199254740991,"sym":0,"temperature":0.1,"top_k":5}"#);
    assert_eq!(Options::from_json(&json).unwrap().to_json().unwrap(), json);
    assert_eq!(options.clone().to_json().unwrap(), json);
    assert_eq!(format!("{options:?}"), format!("Options({json})"));
    assert_eq!(Options::new().to_json().unwrap(), "{}");
    assert_error(Options::from_json("{").unwrap_err(), ErrorCode::InvalidArgument, "options");
    let refused = Options::new().bits(5);
    assert_eq!(refused.clone().to_json().unwrap_err(), refused.to_json().unwrap_err());
}

#[test]
fn settings_are_made_from_the_types_that_hold_them() {
    let order = String::from("act");
    let options = Options::new().set("order", &order).set("top_k", 5_u32).set("temperature", 0.5_f32).set("sym", true);
    assert_eq!(options.to_json().unwrap(), r#"{"order":"act","sym":1,"temperature":0.5,"top_k":5}"#);
}

#[test]
fn every_option_is_described() {
    let described = gptq::describe_options().unwrap();
    assert!(described.len() >= 26);
    assert!(described.iter().all(|json| json.starts_with(r#"{"name":""#) && json.ends_with('}')));
}

#[test]
fn the_library_says_what_it_is() {
    assert_eq!(gptq::version(), env!("CARGO_PKG_VERSION"));
    assert!(gptq::build_info().contains(&gptq::version()));
    assert!(gptq::has_feature("cpu") && gptq::has_feature("quantize") && !gptq::has_feature("toaster"));
    gptq::check_device("cpu").unwrap();
    assert_error(gptq::check_device("abacus").unwrap_err(), ErrorCode::InvalidArgument, "'abacus'");
    assert_eq!(gptq::check_device("cpu\0").unwrap_err().code(), ErrorCode::InvalidArgument);
}

#[test]
fn a_model_says_what_it_is() {
    let model = load();
    assert_eq!(model.get_int("n_layer").unwrap(), 4);
    assert_eq!(model.get_string("family").unwrap(), "llama");
    assert!(model.metadata().unwrap().contains(r#""n_layer":4"#));
}

#[test]
fn types_cross_threads_as_documented() {
    fn shared<T: Send + Sync>() {}
    fn moved<T: Send>() {}
    shared::<Model>();
    shared::<Options>();
    shared::<Monitor>();
    shared::<gptq::Canceller>();
    shared::<Error>();
    moved::<Session>();
    moved::<Generation<'_>>();
    moved::<Quantizer>();
    // as a box of any error
    let boxed: Box<dyn std::error::Error + Send + Sync> = Box::new(at_most(-1).to_json().unwrap_err());
    assert!(boxed.to_string().contains("max_tokens"));
}
