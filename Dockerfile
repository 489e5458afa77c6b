# The image of manager and artifactstore, for docker build, podman build and
# buildah. `make image` makes the same image without an engine and attaches an
# SBOM. A test checks that both have the same files and configuration.
#
#   docker build -t registry.example.com/artifact-store:v1 \
#     --build-arg VERSION=v1 --build-arg REVISION="$(git rev-parse HEAD)" .
#
# GO_IMAGE is any image with Go and a shell; a mirror, or one pinned by digest.
ARG GO_IMAGE=docker.io/library/golang:1.26

FROM --platform=$BUILDPLATFORM $GO_IMAGE AS build
WORKDIR /src
ENV CGO_ENABLED=0 GOWORK=off
COPY . .
# Accounts, certificate authorities and /tmp, by the program behind `make image`.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go run -C hack/tools/image -trimpath -buildvcs=false . --base ../../../out/base
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=devel
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X main.buildVersion=$VERSION" -o out/programs/ ./cmd/manager ./cmd/artifactstore

FROM scratch
ARG VERSION=devel
ARG REVISION=
# Everything belongs to root, and only /tmp is writable: run it with a read-only
# root and a volume at /tmp.
COPY --from=build /src/out/base/ /
COPY --from=build /src/out/programs/ /usr/local/bin/
LABEL org.opencontainers.image.title="artifact-store" \
      org.opencontainers.image.source="https://github.com/coulomb/artifact-store" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
ENV PATH=/usr/local/bin
WORKDIR /
# A number: Kubernetes checks runAsNonRoot without reading /etc/passwd.
USER 65532:65532
EXPOSE 8080 8081 8443
ENTRYPOINT ["/usr/local/bin/manager"]
