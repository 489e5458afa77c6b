# Static binaries on an empty image: nothing to patch, no shell, no root.
# The root file system may be mounted read-only; state is in mounted volumes.

FROM golang:1.26 AS build
WORKDIR /src
# Modules first: they change less often than the code.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
ENV CGO_ENABLED=0
RUN go build -trimpath -buildvcs=false -ldflags "-s -w -X main.buildVersion=${VERSION}" \
    -o /out/ ./cmd/manager ./cmd/artifactstore

FROM scratch
# To trust public certificate authorities of object storage.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/manager /out/artifactstore /usr/local/bin/
# A number, so that runAsNonRoot can be checked without a passwd file.
USER 65532:65532
ENV PATH=/usr/local/bin
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/manager"]
