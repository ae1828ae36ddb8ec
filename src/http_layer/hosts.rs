//! Which provider a server is of.

use super::request::Target;

/// The public hosts of providers. One that begins with a dot is all hosts that end so.
const HOSTS: &[(&str, &str)] = &[
    ("api.openai.com", "openai"),
    ("eu.api.openai.com", "openai"),
    ("us.api.openai.com", "openai"),
    (".openai.azure.com", "azure"),
    (".services.ai.azure.com", "azure"),
    (".cognitiveservices.azure.com", "azure"),
    (".models.ai.azure.com", "azure"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gemini"),
    ("aiplatform.googleapis.com", "vertex"),
    (".aiplatform.googleapis.com", "vertex"),
    ("-aiplatform.googleapis.com", "vertex"),
    ("api.mistral.ai", "mistral"),
    ("codestral.mistral.ai", "mistral"),
    ("api.groq.com", "groq"),
    ("openrouter.ai", "openrouter"),
    ("api.cohere.com", "cohere"),
    ("api.cohere.ai", "cohere"),
    ("api.deepseek.com", "deepseek"),
    ("api.x.ai", "grok"),
    ("api.together.xyz", "together"),
    ("api.together.ai", "together"),
    ("api.fireworks.ai", "fireworks"),
    ("api.perplexity.ai", "perplexity"),
    ("api.cerebras.ai", "cerebras"),
    ("api.sambanova.ai", "sambanova"),
    ("integrate.api.nvidia.com", "nvidia"),
    ("api.moonshot.ai", "moonshot"),
    ("api.moonshot.cn", "moonshot"),
    ("dashscope.aliyuncs.com", "dashscope"),
    ("dashscope-intl.aliyuncs.com", "dashscope"),
    ("dashscope-us.aliyuncs.com", "dashscope"),
    ("api.z.ai", "zai"),
    ("open.bigmodel.cn", "zai"),
    ("api.minimax.io", "minimax"),
    ("api.minimaxi.com", "minimax"),
    ("api.deepinfra.com", "deepinfra"),
    ("router.huggingface.co", "huggingface"),
    ("api-inference.huggingface.co", "huggingface"),
    (".endpoints.huggingface.cloud", "huggingface"),
    ("models.github.ai", "github"),
    ("models.inference.ai.azure.com", "github"),
    ("api.novita.ai", "novita"),
    ("api.hyperbolic.xyz", "hyperbolic"),
    ("api.studio.nebius.com", "nebius"),
    ("api.tokenfactory.nebius.com", "nebius"),
    ("api.siliconflow.com", "siliconflow"),
    ("api.siliconflow.cn", "siliconflow"),
    ("api.lambda.ai", "lambda"),
    ("inference.baseten.co", "baseten"),
    ("inference.do-ai.run", "digitalocean"),
    ("api.venice.ai", "venice"),
    ("ai-gateway.vercel.sh", "vercel"),
    ("api.ai21.com", "ai21"),
    ("api.upstage.ai", "upstage"),
    ("api.voyageai.com", "voyage"),
    ("api.jina.ai", "jina"),
    ("ollama.com", "ollama"),
    (".ml.cloud.ibm.com", "watsonx"),
    ("api.cloudflare.com", "cloudflare"),
    ("gateway.ai.cloudflare.com", "cloudflare"),
    (".cloud.databricks.com", "databricks"),
    (".azuredatabricks.net", "databricks"),
    (".gcp.databricks.com", "databricks"),
];

/// The port on which Ollama listens.
const OLLAMA: u16 = 11_434;

/// Returns the provider of a server that is known.
pub(super) fn provider(target: &Target<'_>) -> Option<&'static str> {
    if is_loopback(target.host) {
        return (target.port == Some(OLLAMA)).then_some("ollama");
    }
    is_bedrock(target.host).then_some("bedrock").or_else(|| public(target.host))
}

/// Whether a host is one of a provider, to which nothing of this program's traces goes.
pub(super) fn is_public(host: &str) -> bool {
    is_bedrock(host) || public(host).is_some()
}

fn public(host: &str) -> Option<&'static str> {
    let is = |known: &str| match known.strip_prefix(['.', '-']) {
        Some(_) => ends_with(host, known),
        None => host.eq_ignore_ascii_case(known),
    };
    HOSTS.iter().find(|(known, _)| is(known)).map(|(_, provider)| *provider)
}

/// `bedrock-runtime.us-east-1.amazonaws.com`, and those of other partitions and of FIPS.
fn is_bedrock(host: &str) -> bool {
    let host = host.as_bytes();
    let starts = |start: &str| host.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start.as_bytes()));
    (starts("bedrock-runtime") || starts("bedrock-mantle"))
        && [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"].iter().any(|end| ends_with_bytes(host, end))
}

fn ends_with(host: &str, end: &str) -> bool {
    ends_with_bytes(host.as_bytes(), end)
}

fn ends_with_bytes(host: &[u8], end: &str) -> bool {
    host.len().checked_sub(end.len()).is_some_and(|at| host[at..].eq_ignore_ascii_case(end.as_bytes()))
}

/// Whether a host is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    address.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        || host.eq_ignore_ascii_case("localhost")
        || ends_with(host, ".localhost")
}
