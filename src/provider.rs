//! How the GenAI conventions call a provider.

/// Returns the `gen_ai.provider.name` of a provider, by the well-known values of the GenAI conventions v1.41.1.
pub(crate) fn convention_name(provider: &str) -> &str {
    match provider {
        "gemini" | "google" => "gcp.gemini",
        "vertex" | "vertex_ai" | "vertexai" => "gcp.vertex_ai",
        "bedrock" => "aws.bedrock",
        "azure" | "azure_openai" => "azure.ai.openai",
        "mistral" => "mistral_ai",
        "grok" | "xai" => "x_ai",
        "watsonx" => "ibm.watsonx.ai",
        other => other,
    }
}

/// Returns the provider of a `gen_ai.provider.name`, as it is on labels; of several spellings the first one of the table above.
#[cfg(any(feature = "install", feature = "span-metrics"))]
pub(crate) fn label(convention_name: &str) -> &str {
    match convention_name {
        "gcp.gemini" => "gemini",
        "gcp.vertex_ai" => "vertex",
        "aws.bedrock" => "bedrock",
        "azure.ai.openai" => "azure",
        "mistral_ai" => "mistral",
        "x_ai" => "grok",
        "ibm.watsonx.ai" => "watsonx",
        other => other,
    }
}

#[cfg(all(test, feature = "install"))]
mod tests {
    use super::*;

    #[test]
    fn every_label_is_found_by_its_convention_name() {
        for provider in ["gemini", "vertex", "bedrock", "azure", "mistral", "grok", "watsonx", "openai", "ollama"] {
            assert_eq!(label(convention_name(provider)), provider);
        }
        assert_eq!(label(convention_name("google")), "gemini");
    }
}
