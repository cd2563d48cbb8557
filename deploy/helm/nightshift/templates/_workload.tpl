{{/* One Deployment: `serve` in one role, as its own ServiceAccount. Takes { root, role, of: its values }. */}}
{{- define "nightshift.deployment" -}}
{{- $v := .root.Values -}}
{{- $files := include "nightshift.secretFiles" . | fromYaml -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: nightshift-{{ .role }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "nightshift.labels" . | nindent 4 }}
spec:
  replicas: {{ .of.replicas }}
  revisionHistoryLimit: 5
  selector:
    matchLabels:
      {{- include "nightshift.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "nightshift.labels" . | nindent 8 }}
      annotations:
        prometheus.io/scrape: "true"
        prometheus.io/port: "8080"
        {{- with $v.policy.text }}
        # The policy is read when the process starts.
        nightshift.dev/policy: {{ sha256sum . | trunc 16 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "nightshift.account" . }}
      automountServiceAccountToken: true
      # The Service is called nightshift: its variables (NIGHTSHIFT_PORT=tcp://…) would be taken for configuration.
      enableServiceLinks: false
      # The step in hand ends and runs are handed over.
      terminationGracePeriodSeconds: 60
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        fsGroup: 65532
        seccompProfile: { type: RuntimeDefault }
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "nightshift.selector" . | nindent 14 }}
      {{- with $v.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with $v.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $v.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $v.image.pullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      containers:
        - name: nightshift
          image: {{ include "nightshift.image" .root }}
          imagePullPolicy: {{ $v.image.pullPolicy }}
          args: [serve]
          env:
            - name: POD_UID
              valueFrom: { fieldRef: { fieldPath: metadata.uid } }
            - name: NIGHTSHIFT_NAMESPACE
              valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
            - name: NIGHTSHIFT_ROLE
              value: {{ .role }}
            - name: NIGHTSHIFT_POLICY
              value: /etc/nightshift/policy/policy.yaml
            - name: NIGHTSHIFT_LOG_LEVEL
              value: {{ $v.logLevel }}
            {{- with $v.cluster }}
            - name: NIGHTSHIFT_CLUSTER
              value: {{ . | quote }}
            {{- end }}
            {{- with $v.url }}
            - name: NIGHTSHIFT_URL
              value: {{ . }}
            {{- end }}
            - name: REDIS_URL
              valueFrom: { secretKeyRef: { name: {{ $v.secrets.redisUrl.name }}, key: {{ $v.secrets.redisUrl.key }} } }
            {{- with $v.prometheusUrl }}
            - name: PROMETHEUS_URL
              value: {{ . }}
            {{- end }}
            {{- with $v.alertmanager.urls }}
            - name: ALERTMANAGER_URL
              value: {{ join "," . }}
            - name: ALERTMANAGER_RECEIVER
              value: {{ $v.alertmanager.receiver | quote }}
            {{- end }}
            {{- if and (eq .role "front") $v.slack.channel }}
            - name: SLACK_CHANNEL
              value: {{ $v.slack.channel | quote }}
            {{- end }}
            {{- range $name, $_ := $files }}
            - name: {{ $name }}_FILE
              value: /etc/nightshift/secrets/{{ $name }}
            {{- end }}
          ports:
            - name: http
              containerPort: 8080
          startupProbe:
            httpGet: { path: /healthz, port: http }
            periodSeconds: 2
            failureThreshold: 60
          livenessProbe:
            httpGet: { path: /healthz, port: http }
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: { path: /readyz, port: http }
            periodSeconds: 5
            timeoutSeconds: 5
          resources:
            {{- toYaml .of.resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: { drop: [ALL] }
          volumeMounts:
            - { name: policy, mountPath: /etc/nightshift/policy, readOnly: true }
            - { name: secrets, mountPath: /etc/nightshift/secrets, readOnly: true }
            - { name: data, mountPath: /data }
      volumes:
        - name: policy
          configMap:
            name: {{ include "nightshift.policyConfigMap" .root }}
        - name: secrets
          projected:
            # 0440: read by the group alone, which is fsGroup.
            defaultMode: 288
            sources:
              {{- range $name, $from := $files }}
              - secret:
                  name: {{ $from.name }}
                  items: [{ key: {{ $from.key | quote }}, path: {{ $name }} }]
              {{- end }}
        - name: data
          emptyDir: { sizeLimit: 64Mi }
{{- end }}
