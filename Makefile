# The commands of the project; each is a thin wrapper of a script or a tool.

.PHONY: help run test test-all test-rest faults e2e compose-test setup lint types bench bench-callers bench-ui bench-watching page-pictures page-trees page-types soak pictures documents house api-fuzz fmt lock

help: ## Show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

run: ## Prestage a demonstration fleet on this machine, from nothing; in a terminal it stays for a look around
	@bin/setup run
	@.venv/bin/prestager demo $$(test -t 0 && test -t 1 && echo --keep)

test: ## Check style, types and imports, and run the quick lane of the tests: under five minutes
	@bin/check

test-all: ## Run everything that a change must pass: make test and make test-rest in one run
	@bin/check --lane all

test-rest: ## Run the tests that make test leaves out
	@bin/setup test
	@bin/tests --lane rest

faults: ## Kill, freeze and restart everything, many times: a quarter of an hour; PRELOAD=false: runs started plainly
	@bin/setup test
	@PRESTAGER_FAULT_ROUNDS=long PRESTAGER_FAULT_PRELOAD=$(or $(PRELOAD),true) .venv/bin/python -m pytest -m faults -n 2 --dist worksteal -q

e2e: ## Prestage 25 sites over SSH, RabbitMQ, PostgreSQL and a registry, the whole demonstration, benchmarks in small: minutes
	@bin/setup test
	@.venv/bin/python -m pytest -m e2e -q

compose-test: ## Build the image and kill each container of docker-compose.yml once, with podman, as root: minutes
	@bin/setup compose
	@.venv/bin/python -m tests.compose

setup: ## Prepare .venv and the programs that tests need
	@bin/setup test

lint: ## Check style and the rules between packages
	@bin/setup dev
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/lint-imports

types: ## Check types
	@bin/setup dev
	@.venv/bin/mypy

bench: ## Measure a fleet of many sites on this machine
	@bin/setup test
	@.venv/bin/python -m tests.bench.orchestration
	@.venv/bin/python -m tests.bench.fleet
	@.venv/bin/python -m tests.bench.precheck
	@.venv/bin/python -m tests.bench.playbooks
	@.venv/bin/python -m tests.bench.site_playbooks
	@.venv/bin/python -m tests.bench.commands
	@.venv/bin/python -m tests.bench.passes
	@.venv/bin/python -m tests.bench.idle
	@.venv/bin/python -m tests.bench.reads
	@.venv/bin/python -m tests.bench.status

bench-ui: ## Measure the dashboard with 5,000 sites in a browser
	@bin/setup test
	@.venv/bin/python -m tests.bench.page

soak: ## Follow the stream of events with many listeners who come back at random
	@bin/setup dev
	@.venv/bin/python -m tests.bench.stream

pictures: ## Draw the pictures of docs/ from the code
	@bin/setup dev
	@.venv/bin/python -m docs.pictures
	@.venv/bin/python -m docs.terminal_pictures

page-pictures: ## Take the pictures of the dashboard for docs/ in a browser
	@bin/setup test
	@.venv/bin/python -m tests.browser.pictures

page-trees: ## Write what screen readers are told of the dashboard, for tests/browser/trees/
	@bin/setup test
	@.venv/bin/python -m tests.browser.pane_trees

page-types: ## Check the types of the dashboard's modules; installs Node, which nothing else needs
	@bin/setup page-types
	@.venv/bin/python -m tests.browser.types.answers
	@tests/browser/types/node_modules/.bin/tsc -p tests/browser/types

house: ## Measure packages, imports, names and docstrings
	@bin/setup dev
	@.venv/bin/python -m docs.house

documents: ## Write the documents of docs/ that are made from the code
	@bin/setup dev
	@.venv/bin/python -m docs.documents

api-fuzz: ## Send the API thousands of requests made from its document: some minutes
	@bin/setup dev
	@PRESTAGER_FUZZ_EXAMPLES=100 .venv/bin/python -m pytest tests/integration/api_document -q

bench-watching: ## Measure what log, metrics and scrapes cost: about ten minutes
	@bin/setup dev
	@.venv/bin/python -m tests.bench.watching

bench-callers: ## Measure what Keystone costs a request
	@bin/setup test
	@.venv/bin/python -m tests.bench.callers

fmt: ## Bring all files into form
	@bin/setup dev
	@.venv/bin/ruff check --fix-only --quiet .
	@.venv/bin/ruff format .

lock: ## Resolve the dependencies anew
	@bin/lock
