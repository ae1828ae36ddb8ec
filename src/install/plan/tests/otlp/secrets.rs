//! Tests of certificates, keys and headers.

use super::super::assert_refused;
use super::exported;
#[cfg(feature = "otlp-tls")]
use super::otlp;

/// Two certificates with their keys, in files that are removed afterwards.
#[cfg(feature = "otlp-tls")]
fn with_certificates(check: impl Fn([(&str, &str); 2])) {
    let folder = std::env::temp_dir().join(format!("botticelli-obs-identity-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let write = |name: &str| {
        let made = rcgen::generate_simple_self_signed(["host".to_owned()]).expect("a certificate");
        let files = [folder.join(format!("{name}.pem")), folder.join(format!("{name}.key"))];
        std::fs::write(&files[0], made.cert.pem()).expect("the folder can be written to");
        std::fs::write(&files[1], made.signing_key.serialize_pem()).expect("the folder can be written to");
        files.map(|file| file.to_str().expect("a path in Unicode").to_owned())
    };
    let (one, other) = (write("one"), write("other"));
    check([(&one[0], &one[1]), (&other[0], &other[1])]);
    std::fs::remove_dir_all(&folder).expect("it is there");
}

#[cfg(feature = "otlp-tls")]
#[test]
fn a_client_certificate_needs_its_own_key() {
    let (certificate, key) = ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_KEY");
    with_certificates(|[one, other]| {
        let plan = exported([(certificate, one.0), (key, one.1)]).expect("valid");
        assert!(otlp(&plan).identity.is_some());
        let of_signal = exported([
            ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", other.0),
            ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", other.1),
            (certificate, one.0),
            (key, one.1),
        ]);
        let shown = std::fs::read(other.0).expect("it is there");
        assert_eq!(otlp(&of_signal.expect("valid")).identity.as_ref().expect("an identity").certificate, shown);
        assert!(assert_refused(certificate, exported([(certificate, one.0)])).contains(key));
        assert!(assert_refused(key, exported([(key, one.1)])).contains(certificate));
        assert!(assert_refused(certificate, exported([(certificate, one.0), (key, other.1)])).contains(key));
        assert_refused(certificate, exported([(certificate, one.1), (key, one.1)]));
        assert_refused(key, exported([(certificate, one.0), (key, one.0)]));
        assert_refused(key, exported([(certificate, one.0), (key, "/does/not/exist")]));
    });
}

#[cfg(not(feature = "otlp-tls"))]
#[test]
fn a_client_certificate_needs_its_feature() {
    let variables =
        [("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "Cargo.toml"), ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "Cargo.toml")];
    assert!(assert_refused(variables[0].0, exported(variables)).contains("`otlp-tls`"));
}

#[test]
fn secrets_are_never_in_an_error() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer s3cret,broken"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cret%0A"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "=s3cret"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:s3cret@host:5555"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "user:s3cret@host:5555"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://user:s3cret@host:5555"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host:5555/?token=s3cret"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://host?token=s3cret"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host:5555/#s3cret"),
        ("OTEL_RESOURCE_ATTRIBUTES", "key=s3cret,broken"),
    ] {
        let error = exported([(name, value)]).err().unwrap_or_else(|| panic!("{value} is not refused"));
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
    }
    let plan = exported([("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cret")]).expect("valid");
    assert!(!format!("{plan:?}").contains("s3cret"), "`Debug` of the plan has no secret");
}

#[test]
fn a_certificate_is_a_pem_file_for_a_build_with_tls() {
    let name = "OTEL_EXPORTER_OTLP_CERTIFICATE";
    assert_refused(name, exported([(name, "/does/not/exist.pem")]));
    let not_pem = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    assert_refused(name, exported([(name, not_pem)]));

    let certificate = rcgen::generate_simple_self_signed(["host".to_owned()]).expect("a certificate").cert.pem();
    let path = std::env::temp_dir().join(format!("botticelli-obs-plan-{}.pem", std::process::id()));
    std::fs::write(&path, &certificate).expect("the folder can be written to");
    let plan = exported([(name, path.to_str().expect("a path in Unicode"))]);
    std::fs::remove_file(&path).expect("the file is there");
    #[cfg(feature = "otlp-tls")]
    assert_eq!(otlp(&plan.expect("valid")).certificate.as_deref(), Some(certificate.as_bytes()));
    #[cfg(not(feature = "otlp-tls"))]
    assert!(assert_refused(name, plan).contains("`otlp-tls`"));
}
