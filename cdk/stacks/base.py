"""The stack every other one is built on: backend, providers, tags, and what it takes from and gives to others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from cdktn import Fn, S3Backend, S3BackendAssumeRoleConfig, TerraformOutput, TerraformStack, TerraformVariable, Token
from cdktn_provider_aws.provider import AwsProvider, AwsProviderAssumeRole, AwsProviderDefaultTags
from constructs import Construct

from cdk.access import BOUNDARY
from cdk.model import Account, Environment, StandIn
from cdk.wiring import StackWiring, Wire

# An emulator answers what it does not know with a server error, which the provider would repeat for minutes.
_EMULATOR_RETRIES = 2


class PlatformStack(TerraformStack):
    """One account, one region, one state.

    Args:
        scope: The app.
        name: Unique in the environment; names the state too.
        environment: Whose.
        account: The account its resources lie in.
        region: The region they lie in.
    """

    def __init__(self, scope: Construct, name: str, *, environment: Environment, account: Account, region: str) -> None:
        super().__init__(scope, name)
        self.environment = environment
        self.account = account
        self.account_id = environment.accounts.of(account)
        self.region = region
        self.stack_name = name
        # Made by terraform/account, whose deploying role makes no role without it.
        self.boundary_arn = f"arn:aws:iam::{self.account_id}:policy/{BOUNDARY}"
        self._takes: dict[str, Wire] = {}
        self._gives: list[str] = []
        self._providers: dict[tuple[str, str], AwsProvider] = {}
        self._backend()
        self.provider = self._provider(account, region, alias=None)
        self.add_override("terraform.required_version", ">= 1.10.0")
        self.add_override("terraform.required_providers.aws.version", environment.aws_provider)

    def provider_in(self, region: str, account: Account | None = None) -> AwsProvider:
        """Return the provider of another region, or of another account too; made on first use."""
        chosen = account or self.account
        if (chosen, region) == (self.account, self.region):
            return self.provider
        key = (chosen.value, region)
        if key not in self._providers:
            self._providers[key] = self._provider(chosen, region, alias=f"{chosen.value}_{region.replace('-', '_')}")
        return self._providers[key]

    def name(self, *parts: str) -> str:
        """Return a resource's name: environment first."""
        return "-".join(("drivetrain", self.environment.environment, *parts))

    # What goes between stacks --------------------------------------------------------------------------------------

    def give(self, output: str, value: str | Sequence[str]) -> None:
        """Give a value to other stacks, under a name."""
        TerraformOutput(self, output, value=value)
        self._gives.append(output)

    def take(self, stack: PlatformStack, output: str, stand_in: str) -> str:
        """Take a text that another stack gives.

        Args:
            stack: The other one.
            output: Its name there.
            stand_in: A text of the same form, for a plan made before the other was applied.
        """
        return str(self._take(stack, output, stand_in, "string").string_value)

    def take_id(self, stack: PlatformStack, output: str, kind: str) -> str:
        """Take the id of a thing of EC2 that another stack gives: `kind` is what it begins with, `vpc` say."""
        return self.take(stack, output, _stand_in_id(kind, stack.stack_name, output))

    def take_ids(self, stack: PlatformStack, output: str, kind: str, count: int) -> list[str]:
        """Take a list of so many ids."""
        stand_ins = tuple(_stand_in_id(kind, stack.stack_name, output, str(place)) for place in range(count))
        variable = self._take(stack, output, stand_ins, "list(string)")
        return [Token.as_string(Fn.element(variable.list_value, place)) for place in range(count)]

    def wiring(self) -> StackWiring:
        """Return what this stack takes and gives, once it is built."""
        takes = tuple(self._takes[name] for name in sorted(self._takes))
        return StackWiring(account=self.account_id, region=self.region, takes=takes, gives=tuple(sorted(self._gives)))

    def _take(self, stack: PlatformStack, output: str, stand_in: StandIn, kind: str) -> TerraformVariable:
        variable = f"{stack.stack_name}_{output}".replace("-", "_")
        known = self._takes.get(variable)
        if known is not None:
            return self.node.find_child(variable)  # type: ignore[return-value]  # made below
        self._takes[variable] = Wire(variable=variable, stack=stack.stack_name, output=output, stand_in=stand_in)
        return TerraformVariable(self, variable, type=kind, description=f"{output} of stack {stack.stack_name}")

    # Where it lies ---------------------------------------------------------------------------------------------------

    def _backend(self) -> None:
        state = self.environment.state
        emulated = self.environment.emulated or None
        S3Backend(
            self,
            bucket=state.bucket,
            key=f"{self.environment.environment}/{self.stack_name}.tfstate",
            region=state.region,
            encrypt=True,
            kms_key_id=state.kms_alias,
            use_lockfile=True,
            assume_role=S3BackendAssumeRoleConfig(role_arn=self._role(Account.MANAGEMENT)),
            skip_credentials_validation=emulated,
            use_path_style=emulated,
            skip_s3_checksum=emulated,
        )

    def _provider(self, account: Account, region: str, *, alias: str | None) -> AwsProvider:
        emulated = self.environment.emulated or None
        return AwsProvider(
            self,
            f"aws-{alias}" if alias else "aws",
            alias=alias,
            region=region,
            allowed_account_ids=[self.environment.accounts.of(account)],
            assume_role=[AwsProviderAssumeRole(role_arn=self._role(account), session_name="drivetrain")],
            default_tags=[AwsProviderDefaultTags(tags=dict(self.default_tags()))],
            skip_credentials_validation=emulated,
            skip_metadata_api_check="true" if emulated else None,
            skip_region_validation=emulated,
            s3_use_path_style=emulated,
            max_retries=_EMULATOR_RETRIES if emulated else None,
        )

    def _role(self, account: Account) -> str:
        return f"arn:aws:iam::{self.environment.accounts.of(account)}:role/{self.environment.deploy_role}"

    def default_tags(self) -> Mapping[str, str]:
        """Return the tags on everything, which cost allocation needs."""
        tags = self.environment.tags
        return {
            "drivetrain:environment": self.environment.environment,
            "drivetrain:stack": self.stack_name,
            "drivetrain:owner": tags.owner,
            "drivetrain:cost-center": tags.cost_center,
            "drivetrain:data-classification": tags.data_classification,
        }


def _stand_in_id(kind: str, *names: str) -> str:
    """Return an id of the right form, another one for each thing: an approved plan must tell them apart."""
    return f"{kind}-{hashlib.sha256('/'.join(names).encode()).hexdigest()[:17]}"
