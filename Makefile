# Everything needs only Go, make and git, unless its line says otherwise: tools are built from the versions in tools.mod.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO ?= go
TOOL := $(GO) tool -modfile=tools.mod
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
PKG ?= ./...
BENCH ?= .
BENCHFLAGS ?=
FUZZTIME ?= 10s
TESTFLAGS := -timeout=20m

# The media example really transcodes. Where ffmpeg is missing its tests are left out, and the last line says so; where CI is
# set they are not left out, and fail.
ifeq ($(CI)$(shell command -v ffmpeg >/dev/null && command -v ffprobe),)
LEFT_OUT := %/examples/media
endif

# Likewise the second opinions on the AWS drivers: their emulators are installed by Python.
EMULATORS := bin/emulators/installed
ifeq ($(CI)$(shell python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo yes),)
WITHOUT_EMULATORS := %/providers/aws/emulatortest
endif
PACKAGES = $(filter-out $(LEFT_OUT) $(WITHOUT_EMULATORS),$(shell $(GO) list $(PKG)))
INSTALL = $(if $(filter %/emulatortest,$(PACKAGES)),$(MAKE) emulators)

.PHONY: help
help: ## List the targets
	@echo "Usage: make <target> [PKG=./core/...]"; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## Start POP on this machine with sample data; ARGS="..." go to pop dev
	@$(GO) build -ldflags '-X main.version=$(VERSION)' -o bin/pop ./cmd/pop
	@exec bin/pop dev $(ARGS)

.PHONY: build
build: ## Build the binaries into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ ./cmd/...

.PHONY: test
test: ## Run all tests; those of examples/media need ffmpeg, those of providers/aws/emulatortest python3 with venv
	@$(INSTALL)
	@$(TOOL) gotestsum --format=standard-quiet -- $(TESTFLAGS) $(PACKAGES)
ifdef LEFT_OUT
	@echo 'NOT RUN: examples/media, as ffmpeg is missing. Install it (apt-get install ffmpeg, brew install ffmpeg) and run make test again.' >&2
endif
ifdef WITHOUT_EMULATORS
	@echo 'NOT RUN: providers/aws/emulatortest, as python3 (3.10 or later) with venv is missing. Install it (apt-get install python3-venv, brew install python) and run make test again.' >&2
endif

.PHONY: emulators
emulators: $(EMULATORS) ## Install the emulators of AWS that the tests of providers/aws/emulatortest start; make test does it

$(EMULATORS): $(addprefix providers/aws/emulatortest/,requirements.txt elasticmq.py elasticmq.sha256)
	@rm -rf bin/emulators && python3 -m venv bin/emulators
	@bin/emulators/bin/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r $<
	@bin/emulators/bin/python3 providers/aws/emulatortest/elasticmq.py bin/emulators/elasticmq
	@touch $@

.PHONY: race
race: TESTFLAGS += -race
race: export GORACE := atexit_sleep_ms=0 $(GORACE) # each of its programs would sleep a second at its end
race: test ## Run all tests under the race detector; needs gcc too

.PHONY: cover
cover: ## Print the statements covered by tests, in all and per function in coverage.out
	@$(INSTALL)
	@$(GO) test -coverpkg=./core/...,./plugins/...,./providers/... -coverprofile=coverage.out $(TESTFLAGS) $(PACKAGES)
	@$(GO) tool cover -func=coverage.out | tail -n 1

.PHONY: bench
bench: ## Measure the whole product on this machine, as docs/performance.md says; BENCH=regexp picks some
	@$(GO) test ./cmd/internal/bench -run='^$$' -bench='$(BENCH)' -benchtime=20000x -timeout=30m $(BENCHFLAGS)

.PHONY: microbench
microbench: ## Run the benchmarks of all packages; BENCH=regexp picks some, BENCHFLAGS="-count=6" goes to go test
	@$(GO) test -run='^$$' -bench='$(BENCH)' -benchmem -timeout=30m $(BENCHFLAGS) $(filter-out %/internal/bench,$(PACKAGES))

.PHONY: benchstat
benchstat: ## Compare two saved outputs of make bench: OLD=a.txt NEW=b.txt
	@$(TOOL) benchstat $(OLD) $(NEW)

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZTIME (10s)
	@$(GO) test -list='^Fuzz' $(PACKAGES) \
		| awk '/^Fuzz/ {t[n++] = $$1} /^ok/ {for (i = 0; i < n; i++) print $$2, t[i]; n = 0}' \
		| while read -r package target; do $(GO) test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) "$$package"; done

.PHONY: lint
lint: ## Run the linters of .golangci.yml
	@$(TOOL) golangci-lint run $(PKG)

.PHONY: fmt
fmt: ## Format the code and mend what linters can mend
	@$(TOOL) golangci-lint fmt
	@$(TOOL) golangci-lint run --fix $(PKG)

.PHONY: generate
generate: ## Write generated files anew
	@$(GO) generate ./...

.PHONY: generate-check
generate-check: ## Fail if generated files are not what their sources say
	@state() { git diff HEAD; git ls-files --others --exclude-standard -z | xargs -0r sha256sum; }; \
	before=$$(state); $(MAKE) generate; after=$$(state); \
	if [ "$$before" != "$$after" ]; then \
		diff <(echo "$$before") <(echo "$$after") || true; \
		echo 'generated files were out of date: commit what make generate has written' >&2; exit 1; \
	fi

.PHONY: proto-check
proto-check: ## Lint the plugin protocol, and fail if it breaks what was released
	@cd plugins/proto && $(GO) tool -modfile=../../tools.mod buf lint && $(GO) tool -modfile=../../tools.mod buf breaking --against released.binpb

.PHONY: proto-release
proto-release: ## Make the plugin protocol as it is what later ones must not break
	@cd plugins/proto && $(GO) tool -modfile=../../tools.mod buf build --exclude-source-info -o released.binpb

.PHONY: tidy-check
tidy-check: ## Fail if go.mod is not tidy
	@$(GO) mod tidy -diff || { echo 'go.mod is not tidy: run go mod tidy' >&2; exit 1; }

.PHONY: ci
ci: ## Run what continuous integration runs
	@.ci/run

.PHONY: clean
clean: ## Remove what make has built; data folders stay
	rm -rf bin coverage.out
