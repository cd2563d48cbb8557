# Nightshift for a cluster: `docker build -t nightshift .`. It needs a Redis elsewhere (REDIS_URL) and writes nothing but
# NIGHTSHIFT_DATA, so that its root may be read-only. test/image builds and starts it without a container engine.
FROM node:20.19-slim AS build
WORKDIR /opt/nightshift
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY handlers handlers
COPY runbooks runbooks
COPY sandbox sandbox
RUN npm run build --silent

FROM node:20.19-slim AS dependencies
WORKDIR /opt/nightshift
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:20.19-slim
LABEL org.opencontainers.image.title="nightshift" org.opencontainers.image.licenses="Apache-2.0"
# Nothing is installed or fetched from here on: the package managers go.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /usr/local/bin/yarn* /opt/yarn* \
  && mkdir /data && chown 65532:65532 /data
WORKDIR /opt/nightshift
COPY package.json LICENSE ./
COPY --from=dependencies /opt/nightshift/node_modules node_modules
COPY --from=build /opt/nightshift/dist dist
COPY bin bin
ENV NODE_ENV=production NIGHTSHIFT_DATA=/data PATH=/opt/nightshift/bin:$PATH
RUN ln -s nightshift.js bin/nightshift
USER 65532:65532
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.NIGHTSHIFT_PORT || 8080}/healthz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/opt/nightshift/bin/nightshift.js"]
CMD ["serve"]
