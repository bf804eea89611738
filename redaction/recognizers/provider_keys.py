"""Key formats by provider, one row a format. `secrets.api_key_rules` makes a rule of each.

The formats are facts that the providers document at the addresses given, or that their published scanning partners match
(docs.github.com/en/code-security/secret-scanning/introduction/supported-secret-scanning-patterns). Lengths are a little
wider than what is handed out today. Capitals matter. A key stands alone: no letter, digit, hyphen or underscore around it.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PROVIDERS", "Provider"]

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


class Provider(NamedTuple):
    """One format of one provider."""

    name: str
    """Goes into the rule's id."""
    pattern: str
    """Of the whole key; the standard library's `re` reads it as well, which the tests use to make keys."""
    source: str
    """Where the provider describes it."""


# fmt: off
PROVIDERS = (
    Provider(
        "1password_secret_key",
        r"A3-[A-Z0-9]{6}-[A-Z0-9]{6}-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}",
        "support.1password.com/secret-key",
    ),
    Provider("1password_service", r"ops_eyJ[A-Za-z0-9+/]{100,800}={0,3}", "developer.1password.com/docs/service-accounts"),
    Provider("age", r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}", "age-encryption.org/v1"),
    Provider("airtable", r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}", "airtable.com/developers/web/guides/personal-access-tokens"),
    Provider("alibaba", r"LTAI[A-Za-z0-9]{12,24}", "www.alibabacloud.com/help/en/ram/user-guide/create-an-accesskey-pair"),
    Provider("anthropic", r"sk-ant-[\w-]{20,200}", "docs.anthropic.com/en/api/overview"),
    Provider(
        "artifactory",
        r"(?:AKCp[A-Za-z0-9]{69}|cmVmd[A-Za-z0-9]{59})",
        "jfrog.com/help/r/jfrog-platform-administration-documentation/access-tokens",
    ),
    Provider("asana", r"[012]/\d{16}(?:/\d{16})?:[0-9a-f]{32}", "developers.asana.com/docs/personal-access-token"),
    Provider(
        "atlassian",
        r"AT(?:ATT3|CTT3|BB)[\w=-]{20,400}",
        "support.atlassian.com/atlassian-account/docs/manage-api-tokens-for-your-atlassian-account",
    ),
    Provider(
        "aws_access_key",
        r"(?:AKIA|ASIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA|ABIA|ACCA)[0-9A-Z]{12,20}",
        "docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html",
    ),
    Provider("aws_bedrock", r"ABSK[A-Za-z0-9+/]{80,300}={0,2}", "docs.aws.amazon.com/bedrock/latest/userguide/api-keys.html"),
    Provider("aws_mws", rf"amzn\.mws\.{_UUID}", "developer-docs.amazon.com/sp-api/docs/authorization-with-mws"),
    Provider(
        "azure_client_secret",
        r"[A-Za-z0-9_~.-]{3}[78]Q~[A-Za-z0-9_~.-]{31,34}",
        "learn.microsoft.com/en-us/purview/sit-defn-client-secret-api-key",
    ),
    Provider(
        "azure_storage",
        r"(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{40,90}={1,2}",
        "learn.microsoft.com/en-us/azure/storage/common/storage-configure-connection-string",
    ),
    Provider("brevo", r"xkeysib-[0-9a-f]{64}-[A-Za-z0-9]{16}", "developers.brevo.com/docs/getting-started"),
    Provider("buildkite", r"bk(?:ua|ct|aj)_[0-9a-f]{40}", "buildkite.com/docs/apis/managing-api-tokens"),
    Provider("circleci", r"CCI(?:PAT|PRJ)_[A-Za-z0-9]{22}_[0-9a-f]{40}", "circleci.com/docs/managing-api-tokens"),
    Provider("clojars", r"CLOJARS_[0-9a-f]{60}", "github.com/clojars/clojars-web/wiki/Deploy-Tokens"),
    Provider(
        "cloudflare_origin_ca",
        r"v1\.0-[0-9a-f]{24}-[0-9a-f]{146}",
        "developers.cloudflare.com/fundamentals/api/get-started/ca-keys",
    ),
    Provider("contentful", r"CFPAT-[\w-]{43}", "www.contentful.com/developers/docs/references/authentication"),
    Provider("crates_io", r"cio[A-Za-z0-9]{32}", "doc.rust-lang.org/cargo/reference/publishing.html"),
    Provider("databricks", r"dapi[0-9a-f]{32}(?:-\d)?", "docs.databricks.com/en/dev-tools/auth/pat.html"),
    Provider("deepl", rf"{_UUID}:fx", "developers.deepl.com/docs/getting-started/auth"),
    Provider("digitalocean", r"do[opr]_v1_[0-9a-f]{16,64}", "docs.digitalocean.com/reference/api/create-personal-access-token"),
    Provider(
        "discord_bot",
        r"[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,38}",
        "discord.com/developers/docs/reference#authentication",
    ),
    Provider(
        "discord_webhook",
        r"https://(?:ptb\.|canary\.)?discord(?:app)?\.com/api/webhooks/\d{17,20}/[\w-]{60,80}",
        "discord.com/developers/docs/resources/webhook",
    ),
    Provider("docker_hub", r"dckr_(?:pat|oat)_[\w-]{27,40}", "docs.docker.com/security/for-developers/access-tokens"),
    Provider(
        "doppler",
        r"dp\.(?:pt|st|ct|sa|said|scim|audit)\.(?:[\w-]{2,35}\.)?[A-Za-z0-9]{40,44}",
        "docs.doppler.com/reference/auth-token-formats",
    ),
    Provider("dropbox", r"sl\.(?:u\.)?[\w-]{60,1200}", "www.dropbox.com/developers/reference/auth-types"),
    Provider("duffel", r"duffel_(?:test|live)_[\w=-]{43}", "duffel.com/docs/api/overview/authentication"),
    Provider(
        "dynatrace",
        r"dt0[a-z]\d{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64}",
        "docs.dynatrace.com/docs/manage/identity-access-management/access-tokens-and-oauth-clients/access-tokens",
    ),
    Provider("easypost", r"EZ[AT]K[A-Za-z0-9]{54}", "docs.easypost.com/docs/authentication"),
    Provider("elevenlabs", r"sk_[0-9a-f]{48}", "elevenlabs.io/docs/api-reference/authentication"),
    Provider("facebook", r"EAA[A-Za-z0-9]{20,300}", "developers.facebook.com/docs/facebook-login/guides/access-tokens"),
    Provider("figma", r"fig[dou]r?_[\w-]{40,60}", "www.figma.com/developers/api#access-tokens"),
    Provider("flutterwave", r"FLW(?:PUB|SEC)K(?:_TEST)?-[0-9a-f]{32}-X", "developer.flutterwave.com/docs/authentication"),
    Provider("fly_io", r"(?:fm[12][ar]?_[A-Za-z0-9+/=]{60,700}|fo1_[\w-]{43})", "fly.io/docs/security/tokens"),
    Provider(
        "github",
        r"gh[pousr]_[A-Za-z0-9]{20,255}",
        "github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats",
    ),
    Provider(
        "github_fine_grained",
        r"github_pat_\w{22,100}",
        "docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-authentication-to-github",
    ),
    Provider("gitlab", r"gl(?:pat|ptt|dt|rt|cbt|ft|soat|agent|oas|imt|ffct)-[\w.-]{16,120}", "docs.gitlab.com/security/tokens"),
    Provider("google_api", r"AIza[\w-]{25,45}", "cloud.google.com/docs/authentication/api-keys"),
    Provider(
        "google_client_id",
        r"\d{6,21}-[a-z0-9]{32}\.apps\.googleusercontent\.com",
        "developers.google.com/identity/protocols/oauth2",
    ),
    Provider("google_client_secret", r"GOCSPX-[\w-]{28}", "support.google.com/cloud/answer/15549257"),
    Provider("google_oauth", r"ya29\.[\w-]{20,300}", "developers.google.com/identity/protocols/oauth2"),
    Provider("google_refresh", r"1//0[\w-]{40,120}", "developers.google.com/identity/protocols/oauth2"),
    Provider(
        "grafana_cloud",
        r"glc_[A-Za-z0-9+/]{32,400}={0,3}",
        "grafana.com/docs/grafana-cloud/account-management/authentication-and-permissions/access-policies",
    ),
    Provider(
        "grafana_service",
        r"glsa_[A-Za-z0-9]{32}_[0-9A-Fa-f]{8}",
        "grafana.com/docs/grafana/latest/administration/service-accounts",
    ),
    Provider("groq", r"gsk_[A-Za-z0-9]{40,60}", "console.groq.com/docs/quickstart"),
    Provider(
        "harness",
        r"[ps]at\.[\w-]{22}\.[0-9a-f]{24}\.[A-Za-z0-9]{20}",
        "developer.harness.io/docs/platform/automation/api/add-and-manage-api-keys",
    ),
    Provider("heroku", rf"HRKU-(?:{_UUID}|AA[\w-]{{58}})", "devcenter.heroku.com/articles/authentication"),
    Provider("hubspot", rf"pat-(?:na|eu|ap)\d-{_UUID}", "developers.hubspot.com/docs/guides/apps/private-apps/overview"),
    Provider("hugging_face", r"(?:hf|api_org)_[A-Za-z0-9]{16,40}", "huggingface.co/docs/hub/security-tokens"),
    Provider("infracost", r"ico-[A-Za-z0-9]{32}", "www.infracost.io/docs"),
    Provider(
        "intercom",
        r"dG9rO[A-Za-z0-9+/]{50,60}={0,2}",
        "developers.intercom.com/docs/build-an-integration/learn-more/authentication",
    ),
    Provider("langfuse", rf"[sp]k-lf-{_UUID}", "langfuse.com/docs/api"),
    Provider(
        "langsmith",
        r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}",
        "docs.smith.langchain.com/administration/how_to_guides/organization_management/create_account_api_key",
    ),
    Provider("launchdarkly", rf"(?:sdk|mob|api)-{_UUID}", "docs.launchdarkly.com/home/account/api"),
    Provider(
        "linear",
        r"lin_(?:api|oauth)_[A-Za-z0-9]{20,70}",
        "developers.linear.app/docs/graphql/working-with-the-graphql-api",
    ),
    Provider("lob", r"(?:live|test)_(?:pub_)?[0-9a-f]{31,35}", "docs.lob.com"),
    Provider("mailchimp", r"[0-9a-f]{32}-us\d{1,2}", "mailchimp.com/developer/marketing/guides/quick-start"),
    Provider("mailgun", r"(?:key|pubkey)-[0-9a-f]{32}", "documentation.mailgun.com/docs/mailgun/user-manual/api-key-mgmt"),
    Provider("mapbox", r"[pst]k\.eyJ[\w-]{20,200}\.[\w-]{20,40}", "docs.mapbox.com/api/accounts/tokens"),
    Provider("mongodb_atlas", r"mdb_sa_sk_[\w-]{30,50}", "www.mongodb.com/docs/atlas/configure-api-access"),
    Provider("netlify", r"nf[pcu]_[A-Za-z0-9]{36,40}", "docs.netlify.com/api/get-started"),
    Provider(
        "new_relic",
        r"NR(?:AK|AA|RA|BR)-[A-Z0-9]{27}|NRII-[\w-]{32}|NRJS-[0-9a-f]{19}",
        "docs.newrelic.com/docs/apis/intro-apis/new-relic-api-keys",
    ),
    Provider("notion", r"(?:secret|ntn)_[A-Za-z0-9]{43,50}", "developers.notion.com/docs/authorization"),
    Provider("npm", r"npm_[A-Za-z0-9]{20,40}", "docs.npmjs.com/about-access-tokens"),
    Provider("nuget", r"oy2[a-z0-9]{43}", "learn.microsoft.com/en-us/nuget/nuget-org/scoped-api-keys"),
    Provider("nvidia", r"nvapi-[\w-]{50,80}", "docs.api.nvidia.com"),
    Provider(
        "openai",
        r"sk-(?:(?:proj|svcacct|admin|None)-[\w-]{16,250}|[A-Za-z0-9]{16,60})",
        "platform.openai.com/docs/api-reference/authentication",
    ),
    Provider("openrouter", r"sk-or-(?:v1-)?[0-9a-f]{32,64}", "openrouter.ai/docs/api-reference/authentication"),
    Provider(
        "openshift",
        r"sha256~[\w-]{43}",
        "docs.openshift.com/container-platform/latest/authentication/managing-oauth-access-tokens.html",
    ),
    Provider("perplexity", r"pplx-[A-Za-z0-9]{40,64}", "docs.perplexity.ai/guides/getting-started"),
    Provider("pinecone", r"pcsk_\w{50,80}", "docs.pinecone.io/guides/projects/manage-api-keys"),
    Provider("plaid", rf"access-(?:sandbox|development|production)-{_UUID}", "plaid.com/docs/api/items"),
    Provider(
        "planetscale",
        r"pscale_(?:pw|tkn|oauth)_[\w=.-]{32,64}",
        "planetscale.com/docs/reference/planetscale-api-oauth-applications",
    ),
    Provider("postman", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}", "learning.postman.com/docs/developer/postman-api/authentication"),
    Provider("prefect", r"pn[ub]_[A-Za-z0-9]{36}", "docs.prefect.io/latest/manage/cloud/manage-users/api-keys"),
    Provider("pulumi", r"pul-[0-9a-f]{40}", "www.pulumi.com/docs/pulumi-cloud/access-management/access-tokens"),
    Provider("pypi", r"pypi-[\w-]{16,250}", "pypi.org/help/#apitoken"),
    Provider(
        "razorpay",
        r"rzp_(?:live|test)_[A-Za-z0-9]{12,20}",
        "razorpay.com/docs/payments/dashboard/account-settings/api-keys",
    ),
    Provider("readme", r"rdme_[a-z0-9]{70}", "docs.readme.com/main/reference/intro/authentication"),
    Provider("replicate", r"r8_[A-Za-z0-9]{37,40}", "replicate.com/docs/topics/security/api-tokens"),
    Provider("resend", r"re_[A-Za-z0-9]{8}_[A-Za-z0-9]{24}", "resend.com/docs/api-reference/introduction"),
    Provider("rubygems", r"rubygems_[0-9a-f]{48}", "guides.rubygems.org/api-key-scopes"),
    Provider("sendgrid", r"SG\.[\w-]{16,24}\.[\w-]{16,50}", "www.twilio.com/docs/sendgrid/ui/account-and-settings/api-keys"),
    Provider("sentry", r"sntry(?:s_eyJ[\w+/=-]{40,300}|u_[0-9a-f]{64})", "docs.sentry.io/account/auth-tokens"),
    Provider("shippo", r"shippo_(?:live|test)_[0-9a-f]{40}", "docs.goshippo.com/docs/guides_general/authentication"),
    Provider(
        "shopify",
        r"shp(?:at|ca|pa|ss|tka)_[0-9A-Fa-f]{16,40}",
        "shopify.dev/docs/apps/build/authentication-authorization",
    ),
    Provider("slack", r"xox[abceoprs]-(?:\d-)?[\w-]{10,250}", "api.slack.com/concepts/token-types"),
    Provider("slack_app", r"xapp-\d-[A-Z0-9]{8,14}-\d{10,16}-[0-9a-f]{32,64}", "api.slack.com/concepts/token-types"),
    Provider(
        "slack_webhook",
        r"https://hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/[\w/+-]{20,120}",
        "api.slack.com/messaging/webhooks",
    ),
    Provider("sonar", r"sq[pau]_[0-9a-f]{40}", "docs.sonarsource.com/sonarqube-server/latest/user-guide/managing-tokens"),
    Provider(
        "sourcegraph",
        r"sgp_(?:(?:[0-9a-f]{16}|local)_)?[0-9a-f]{40}",
        "sourcegraph.com/docs/cli/how-tos/creating-an-access-token",
    ),
    Provider("square", r"(?:sq0[a-z]{3}-[\w-]{16,50}|EAAA[\w-]{60})", "developer.squareup.com/docs/build-basics/access-tokens"),
    Provider("stripe", r"[spr]k_(?:live|test|prod)_[0-9A-Za-z]{8,120}", "docs.stripe.com/keys"),
    Provider("stripe_webhook", r"whsec_[A-Za-z0-9+/]{20,64}={0,2}", "docs.stripe.com/webhooks/signature"),
    Provider(
        "supabase",
        r"(?:sbp_[0-9a-f]{40}|sb_(?:secret|publishable)_[\w-]{20,50})",
        "supabase.com/docs/guides/api/api-keys",
    ),
    Provider("tailscale", r"tskey-(?:[a-z]{3,12}-)?[A-Za-z0-9]{8,20}-[A-Za-z0-9]{16,40}", "tailscale.com/kb/1085/auth-keys"),
    Provider("tavily", r"tvly-(?:dev-|prod-)?[A-Za-z0-9]{20,40}", "docs.tavily.com/documentation/quickstart"),
    Provider(
        "teams_webhook",
        rf"https://[a-z0-9-]{{1,60}}\.webhook\.office\.com/webhookb2/{_UUID}@{_UUID}/IncomingWebhook/[0-9a-f]{{32}}/{_UUID}",
        "learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook",
    ),
    Provider("telegram_bot", r"\d{8,10}:AA[\w-]{33}", "core.telegram.org/bots/api#authorizing-your-bot"),
    Provider("tencent", r"AKID[A-Za-z0-9]{32}", "www.tencentcloud.com/document/product/598/34228"),
    Provider(
        "terraform_cloud",
        r"[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{60,70}",
        "developer.hashicorp.com/terraform/cloud-docs/users-teams-organizations/api-tokens",
    ),
    Provider("twilio", r"(?:AC|SK)[0-9a-f]{32}", "www.twilio.com/docs/iam/api-keys"),
    Provider(
        "twitter_bearer",
        r"AAAAAAAAAAAAAAAAAAAAA[A-Za-z0-9%]{60,100}",
        "developer.x.com/en/docs/authentication/oauth-2-0/bearer-tokens",
    ),
    Provider("typeform", r"tfp_[\w.=-]{40,60}", "www.typeform.com/developers/get-started/personal-access-token"),
    Provider("vault", r"(?:hv[sbr]\.[\w-]{24,200}|s\.[A-Za-z0-9]{24})", "developer.hashicorp.com/vault/docs/concepts/tokens"),
    Provider("vercel_blob", r"vercel_blob_rw_[A-Za-z0-9]{16}_[A-Za-z0-9]{30}", "vercel.com/docs/vercel-blob"),
    Provider("xai", r"xai-[A-Za-z0-9]{60,90}", "docs.x.ai/docs/overview"),
    Provider("yandex", r"AQVN[\w-]{35,38}", "yandex.cloud/en/docs/iam/concepts/authorization/api-key"),
    Provider(
        "zapier_webhook",
        r"https://hooks\.zapier\.com/hooks/catch/\d{3,12}/\w{6,12}",
        "help.zapier.com/hc/en-us/articles/8496288690317",
    ),
)
# fmt: on
"""Named formats, by name."""
