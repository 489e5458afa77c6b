# Every target works on a fresh Debian with Go, git and make; it builds or
# installs everything else itself.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# One set of flags for everything that compiles (staticcheck and tests, too), so
# that all share the build cache.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -buildvcs=false $(GOFLAGS)
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.buildVersion=$(VERSION)

# How long all tests may take together with their builds.
TEST_TIMEOUT ?= 20m
# The longest first: while they wait, others can run.
ALL_PACKAGES := ./test/e2e ./pkg/storage/s3 ./controllers ./...
TEST_PACKAGES ?= $(ALL_PACKAGES)
# How many packages are tested at once: one more than there are cores, since the
# long ones wait a third of their time.
TEST_AT_ONCE ?= $(shell expr $$(nproc) + 1)
# Separate modules with programs or tests of this project.
OWN_MODULES := hack/tools/image hack/tools/alerts

IN_CLUSTER = IMAGE='$(IMAGE)' OVERLAY='$(OVERLAY)' NAMESPACE='$(NAMESPACE)' hack/cluster.sh

# Folders that hold generated files.
GENERATED := api config

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/manager and bin/artifactstore
	go build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/manager ./cmd/artifactstore

# Where install-cli puts the program and its completions; DESTDIR goes before it.
PREFIX ?= /usr/local

.PHONY: install-cli
install-cli: ## Build artifactstore and install it with its completions (PREFIX, DESTDIR)
	go build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/artifactstore
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' hack/install-cli.sh

.PHONY: release
release: ## Make artifactstore for Linux, macOS and Windows in bin/release, with SBOM and SHA-256 sums (VERSION, PLATFORMS)
	@VERSION='$(VERSION)' PLATFORMS='$(PLATFORMS)' hack/release.sh

.PHONY: cross
cross: ## Build artifactstore for Windows, to see that it can be
	GOOS=windows GOARCH=amd64 go build -ldflags '$(LDFLAGS)' -o bin/cross/ ./cmd/artifactstore

.PHONY: run
run: build ## Start the embedded registry, push docs/ and pull it back, keep serving (DATA_DIR, LISTEN)
	@exec hack/run-embedded.sh

# GOGC: compilers, linkers and tests collect garbage less often; the programs
# under test, which get their own environment, as usual. -s: about forty test
# programs are linked, and none is debugged.
.PHONY: test
test: parts ## Run every test, on real servers that it starts
	KUBEBUILDER_ASSETS="$${KUBEBUILDER_ASSETS:-$$(hack/build-tools.sh --path kubernetes)}" \
		GOGC=$${GOGC:-400} hack/in-scratch.sh go test -p $(TEST_AT_ONCE) -ldflags=-s -timeout $(TEST_TIMEOUT) $(TEST_PACKAGES)
ifeq ($(TEST_PACKAGES),$(ALL_PACKAGES))
	@for module in $(OWN_MODULES); do (cd $$module && go test -ldflags=-s ./...); done
endif

.PHONY: check
check: ## The short loop: tests that start no server, and lint of what changed (SINCE)
	@SINCE='$(SINCE)' hack/check.sh

.PHONY: soak
soak: parts ## The long forms of tests: hundreds of kills, minutes of load (ARTIFACTSTORE_SEED repeats a run)
	KUBEBUILDER_ASSETS="$${KUBEBUILDER_ASSETS:-$$(hack/build-tools.sh --path kubernetes)}" \
		GOGC=$${GOGC:-400} hack/in-scratch.sh hack/soak.sh

.PHONY: fuzz
fuzz: ## Run each fuzz target for a while (FUZZ_TIME, 1m); make test runs their seeds
	@hack/fuzz.sh $(FUZZ_TIME)

.PHONY: parts
parts: # What tests run against: kube-apiserver, kube-controller-manager and etcd, kubectl, three S3 servers, PostgreSQL, strace.
	hack/build-tools.sh kubernetes kubectl versitygw minio postgresql pgbouncer ceph strace

.PHONY: image
image: ## Make the image bin/artifact-store.tar (IMAGE, PLATFORMS; PUSH=1 pushes it)
	@IMAGE='$(IMAGE)' PLATFORMS='$(PLATFORMS)' PUSH='$(PUSH)' VERSION='$(VERSION)' hack/image.sh

.PHONY: install
install: ## Install the CRDs and the namespace into the cluster of the current kubeconfig (OVERLAY, NAMESPACE)
	@$(IN_CLUSTER) install

.PHONY: deploy
deploy: ## Deploy the manager there, or a new version of it (IMAGE, OVERLAY, NAMESPACE)
	@$(IN_CLUSTER) deploy

.PHONY: undeploy
undeploy: ## Remove the manager; CRDs, declared objects and stored content stay (OVERLAY, NAMESPACE)
	@$(IN_CLUSTER) undeploy

.PHONY: uninstall
uninstall: ## Remove the CRDs, once no object of theirs is left
	@$(IN_CLUSTER) uninstall

.PHONY: test-e2e
test-e2e: ## Test it in the cluster that KUBECONFIG names: install, use, disturb, remove (see hack/e2e.sh)
	@hack/e2e.sh

.PHONY: bench
bench: parts ## Measure speed and memory relative to the bare components; with BASE=commit, relative to that commit's programs
ifeq ($(BASE),)
	hack/build-tools.sh distribution
	go test -timeout 60m -run '^$$' -bench . -benchtime 1x ./test/bench
else
	BENCH_BASE='$(BASE)' hack/in-scratch.sh go test -tags base -timeout 60m -run '^$$' -bench '^BenchmarkBase' -benchtime 1x ./test/bench
endif

.PHONY: bench-scale
bench-scale: ## Measure the manager on a database of PACKAGES (1,000,000); with BASE=commit, also against that commit. It takes more than an hour, and 10 GB in TMPDIR
	BENCH_PACKAGES='$(or $(PACKAGES),1000000)' BENCH_BASE='$(BASE)' BENCH_FOLDER='$(FOLDER)' go test -tags base -timeout 6h -run '^$$' -bench '^BenchmarkScale' -benchtime 1x ./test/bench

.PHONY: smoke-s3
smoke-s3: ## Test your own S3 server (ENDPOINT, BUCKET, REGION, CA, PREFIX; keys in AWS_…)
	@ENDPOINT='$(ENDPOINT)' BUCKET='$(BUCKET)' REGION='$(REGION)' CA='$(CA)' PREFIX='$(PREFIX)' hack/smoke-s3.sh

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	hack/build-tools.sh dev
	@unformatted="$$(gofmt -l api cmd controllers hack pkg test)"; \
		if [ -n "$$unformatted" ]; then echo "gofmt these files:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go vet -tags smoke ./pkg/storage/s3
	go vet -tags e2e ./test/e2e/cluster/...
	go vet -tags base ./test/bench
	bin/staticcheck ./...
	bin/staticcheck -tags e2e ./test/e2e/cluster/...
	bin/staticcheck -tags base ./test/bench
	@for module in $(OWN_MODULES); do (cd $$module && go vet ./... && $(CURDIR)/bin/staticcheck ./...); done

.PHONY: generate
generate: ## Regenerate CRDs, RBAC, deepcopy and everything else that is made from the code
	hack/build-tools.sh dev
	hack/generate.sh

.PHONY: verify
verify: ## Regenerate, and fail if anything differs from the committed files
	@before="$$(mktemp -d)"; trap 'rm -rf "$$before"' EXIT; \
		cp -R $(GENERATED) "$$before"; \
		$(MAKE) --no-print-directory generate; \
		for folder in $(GENERATED); do \
			diff -r "$$before/$$folder" "$$folder" || { echo "$$folder: run make generate and commit the result"; exit 1; }; \
		done; echo "generated files are up to date"

.PHONY: tools
tools: ## Build the pinned tools and test servers into bin/
	hack/build-tools.sh

.PHONY: clean
clean: ## Remove everything that was built, and the data of make run
	rm -rf bin .run
