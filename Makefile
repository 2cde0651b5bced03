# Everything a person needs is one word: make run, make test, make lint, make deploy.
SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0
unexport PYTHONDONTWRITEBYTECODE # sam and the tests' processes start hundreds of times
export PYTHONPATH := $(CURDIR):$(CURDIR)/functions

DEV := .venv/.ready
AWS := .venv-aws/.ready
LAMBDA := .venv-lambda/.ready
CHECKS := .venv-checks/.ready

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: $(DEV) $(AWS) ## Deploy to an embedded AWS, send an event, show what was rotated (EVENT=events/x.json, TWICE=1)
	@python -m tests.sandbox.run $(if $(EVENT),--event $(EVENT)) $(if $(filter-out 0,$(TWICE)),--twice)

.PHONY: hook
hook: $(DEV) $(AWS) ## Let Secrets Manager rotate a secret that mirrors a key, on an embedded AWS
	@python -m tests.sandbox.show_hook

.PHONY: preflight
preflight: $(DEV) $(if $(STACK),,$(AWS)) ## Ask a deployed stack about every rotation of its map (STACK=name, TEST_ALARM=1 publishes a test message; without, on an embedded AWS)
	@python -m $(if $(STACK),infisical_rotation_triggers preflight --stack "$(STACK)" $(if $(filter-out 0,$(TEST_ALARM)),--test-alarm),tests.sandbox.show_preflight)

.PHONY: map
map: $(DEV) ## Check a rotation map (MAP=map.json); show what it changes and put it (STACK=name, YES=1 does not ask, JSON=1)
	@test -n "$(MAP)" || { echo "Which map? make map MAP=map.json" >&2; exit 2; }
	@python -m infisical_rotation_triggers map "$(MAP)" $(if $(STACK),--stack "$(STACK)") $(if $(filter-out 0,$(YES)),--yes) $(if $(filter-out 0,$(JSON)),--json)

.PHONY: test
test: $(DEV) $(AWS) $(LAMBDA) $(CHECKS) ## Run every test
	@# More processes than cores: the end-to-end tests mostly wait. They are in order, the longest first.
	@pytest -n 4 --dist loadgroup --no-loadscope-reorder -m "not release" $(ARGS)

.PHONY: test-release
test-release: $(DEV) $(AWS) $(LAMBDA) $(CHECKS) ## Run the tests of examples, README and reproducible builds
	@pytest -n 2 --dist loadgroup --no-loadscope-reorder -m release $(ARGS)

.PHONY: simulate faults
simulate: $(DEV) ## Run the program through random schedules of crashes and faults (SCHEDULES=5000, SEED=0)
	@python -m tests.simulation --schedules $(or $(SCHEDULES),5000) --seed $(or $(SEED),0)
faults: simulate

.PHONY: bench
bench: $(DEV) $(AWS) $(LAMBDA) ## Measure, side by side with what one would write instead (DOCS=1 renews docs/performance.md)
	@python -m tests.benchmarks $(if $(filter-out 0,$(DOCS)),--docs)

.PHONY: pictures
pictures: $(DEV) $(AWS) ## Draw the pictures of the documents again
	@python -m tools.pictures
	@python -m tools.casts

.PHONY: lint
lint: $(DEV) $(CHECKS) ## Check style, types, the template, the workflow and the prose
	ruff check
	ruff format --check
	mypy
	cfn-lint template.yaml examples/*.yaml examples/*/template.yaml examples/consumers/*/template.yaml
	.venv-checks/bin/checkov --config-file .checkov.yaml --file template.yaml
	.venv-checks/bin/checkov --config-file examples/.checkov.yaml --directory examples
	.venv-checks/bin/zizmor --offline --quiet .github/workflows
	.venv-checks/bin/python -m tools.prose

.PHONY: build
build: $(DEV) samconfig.toml ## Build the Lambda artifacts into .aws-sam/build
	@LAMBDA_PYTHON=$$(python -m tools.lambda_python) sam build

samconfig.toml: # yours: sam deploy --guided saves your parameters there, and git ignores it
	@cp samconfig.default.toml $@

.PHONY: package
package: build ## Pack what was built into build/, to be deployed without building
	@python -m tools.package

.PHONY: release
release: package $(CHECKS) ## Collect in build/release what a release publishes: archive, wheel, SBOM, schema, notes, hashes
	@rm -rf build/release && mkdir -p build/release
	@hatchling build --target wheel --directory build/release
	@.venv-checks/bin/python -m tools.sbom > "build/release/$$(python -c 'from tools.package import project; print("-".join(project()))').cdx.json"
	@python -m tools.release

.PHONY: deploy
deploy: build ## Deploy to your AWS account, asking for every parameter
	sam deploy --guided

.PHONY: redrive
redrive: $(DEV) ## Replay the triggers in UndeliveredTriggers (STACK=name, DRY=1 only shows them)
	@test -n "$(STACK)" || { echo "Whose? make redrive STACK=name" >&2; exit 2; }
	@python -m infisical_rotation_triggers redrive --stack "$(STACK)" $(if $(filter-out 0,$(DRY)),--dry-run)

.PHONY: reactivate
reactivate: $(DEV) ## Let AWS accept a key again that retire deactivated (KEY=AKIA…, STACK=name)
	@test -n "$(KEY)" -a -n "$(STACK)" || { echo "Which key of which stack? make reactivate KEY=AKIA… STACK=name" >&2; exit 2; }
	@python -m infisical_rotation_triggers reactivate --key "$(KEY)" --stack "$(STACK)"

.PHONY: leaked
leaked: $(DEV) ## Take a leaked key away: say what it is, rotate if it is published, deactivate (KEY=AKIA…, STACK=name, YES=1, NOW=user)
	@test -n "$(KEY)" -a -n "$(STACK)" || { echo "Which key of which stack? make leaked KEY=AKIA… STACK=name" >&2; exit 2; }
	@python -m infisical_rotation_triggers leaked --key "$(KEY)" --stack "$(STACK)" $(if $(filter-out 0,$(YES)),--yes) $(if $(NOW),--now "$(NOW)")

.PHONY: lock
lock: $(DEV) ## Renew the locked requirements from the *.in files
	@for name in requirements/bootstrap functions/requirements requirements/aws requirements/dev requirements/lambda requirements/checks; do \
		uv pip compile --quiet --upgrade --generate-hashes --universal --no-header --no-annotate \
			--python-version 3.11 $$name.in --output-file $$name.txt || exit 1; done

.PHONY: clean
clean: ## Remove everything that was made
	rm -rf .venv .venv-aws .venv-lambda .venv-checks .aws-sam build .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(DEV): requirements/bootstrap.txt requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; set PYTHON=/path/to/one ($(PYTHON) is too old or missing)." >&2; exit 1; }
	@echo "Setting up the development environment in .venv (once) ..."
	@rm -rf .venv
	@$(PYTHON) -m venv .venv || { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian: apt install python3-venv)." >&2; exit 1; }
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/bootstrap.txt
	@.venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r requirements/dev.txt
	@touch $@

$(AWS): requirements/aws.txt $(DEV)
	@echo "Setting up the embedded AWS in .venv-aws (once) ..."
	@uv venv --quiet --clear --python .venv/bin/python .venv-aws
	@uv pip install --quiet --python .venv-aws/bin/python --require-hashes -r requirements/aws.txt
	@touch $@

$(LAMBDA): requirements/lambda.txt $(DEV)
	@echo "Setting up what Lambda brings in .venv-lambda (once) ..."
	@uv venv --quiet --clear --python .venv/bin/python .venv-lambda
	@uv pip install --quiet --compile-bytecode --python .venv-lambda/bin/python --require-hashes -r requirements/lambda.txt
	@touch $@

$(CHECKS): requirements/checks.txt $(DEV)
	@echo "Setting up the checks in .venv-checks (once) ..."
	@uv venv --quiet --clear --python .venv/bin/python .venv-checks
	@uv pip install --quiet --python .venv-checks/bin/python --require-hashes -r requirements/checks.txt
	@touch $@
