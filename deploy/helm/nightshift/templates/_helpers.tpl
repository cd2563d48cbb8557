{{/* Names are fixed: the program, `doctor` and docs call the ServiceAccounts and ClusterRoles by them. One install per cluster. */}}

{{- define "nightshift.labels" -}}
app.kubernetes.io/name: nightshift
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{- with .role }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "nightshift.selector" -}}
app.kubernetes.io/name: nightshift
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "nightshift.account" -}}
{{ ternary "nightshift-hands" "nightshift" (eq .role "hands") }}
{{- end }}

{{- define "nightshift.image" -}}
{{- with .Values.image -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ with .digest }}@{{ . }}{{ end }}
{{- end -}}
{{- end }}

{{- define "nightshift.policyConfigMap" -}}
{{ ternary "nightshift-policy" .Values.policy.configMap (ne .Values.policy.text "") }}
{{- end }}

{{/* What is wrong with the values beyond their shape; rendering stops with the sentence. */}}
{{- define "nightshift.check" -}}
{{- $listed := list -}}
{{- range .Values.namespaces -}}
{{- if eq .name $.Release.Namespace -}}
{{- fail (printf "namespaces: %s is Nightshift's own namespace, which it never acts on: leave it out" .name) -}}
{{- end -}}
{{- if has .name $listed -}}
{{- fail (printf "namespaces: %s is listed twice: one entry with all of its classes" .name) -}}
{{- end -}}
{{- $listed = append $listed .name -}}
{{- end -}}
{{- if not (or .Values.secrets.webhookToken .Values.secrets.webhookBasic) -}}
{{- fail "secrets: expected webhookToken or webhookBasic, found neither: Alertmanager must authenticate itself" -}}
{{- end -}}
{{- if .Values.secrets.slackBotToken -}}
{{- if not .Values.slack.channel -}}
{{- fail "slack.channel: needed beside secrets.slackBotToken, found nothing" -}}
{{- end -}}
{{- if not (or .Values.secrets.slackAppToken .Values.secrets.slackSigningSecret) -}}
{{- fail "secrets: slackAppToken (Socket Mode) or slackSigningSecret (HTTP) is needed beside slackBotToken, found neither" -}}
{{- end -}}
{{- end -}}
{{- if .Values.policy.text -}}
{{- $policy := fromYaml .Values.policy.text -}}
{{- with $policy.Error -}}
{{- fail (printf "policy.text: %s" .) -}}
{{- end -}}
{{- $clusters := $policy.clusters | default list -}}
{{- range $clusters -}}
{{- if or (eq .name $.Values.cluster) (and (eq $.Values.cluster "") (eq (len $clusters) 1)) -}}
{{- range .namespaces -}}
{{- if not (has . $listed) -}}
{{- fail (printf "policy.text: it manages namespace %s, which is not under namespaces: Nightshift could not read it, and would hold everything there" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Secrets that become files, by the environment variable that names them (docs/configuration.md). */}}
{{- define "nightshift.secretFiles" -}}
{{- $s := .root.Values.secrets -}}
{{- $files := dict "NIGHTSHIFT_SECRET" $s.seal "PAGERDUTY_ROUTING_KEY" $s.pagerdutyRoutingKey -}}
{{- if eq .role "front" -}}
{{- $files = merge $files (dict
  "NIGHTSHIFT_WEBHOOK_TOKEN" $s.webhookToken
  "NIGHTSHIFT_WEBHOOK_BASIC" $s.webhookBasic
  "NIGHTSHIFT_API_TOKEN" $s.apiToken
  "SLACK_BOT_TOKEN" $s.slackBotToken
  "SLACK_APP_TOKEN" $s.slackAppToken
  "SLACK_SIGNING_SECRET" $s.slackSigningSecret
  "PAGERDUTY_TOKEN" $s.pagerdutyToken) -}}
{{- end -}}
{{- $given := dict -}}
{{- range $name, $from := $files -}}
{{- if $from -}}{{- $_ := set $given $name $from -}}{{- end -}}
{{- end -}}
{{- toYaml $given -}}
{{- end }}
