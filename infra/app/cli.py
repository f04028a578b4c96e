"""The command `seatline`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.fernet import Fernet

from infra.app import node_arguments
from infra.kit.embedded_postgres import EmbeddedPostgresError
from infra.kit.problems import Refusal
from infra.kit.settings import SettingRefused

USAGE_ERROR = 2
MAX_PROCESSES = 256
LAST_PORT = 65_535
MAX_PAUSE_SECONDS = 86_400
Command = Callable[[argparse.Namespace], int]


def say(text: str) -> None:
    """One line to the person at the terminal."""
    sys.stdout.write(text + "\n")


def complain(text: str) -> None:
    """One line about what is wrong and what to do."""
    sys.stderr.write(text.replace("\n", " ").strip() + "\n")


def serve(arguments: argparse.Namespace) -> int:
    """Run the API."""
    from infra.app import server

    return server.serve(workers=arguments.workers)


def worker(_: argparse.Namespace) -> int:
    """Run background jobs and the schedule."""
    from infra.app import worker as process
    from infra.app.installation import open_installation

    asyncio.run(process.run(open_installation()))
    return 0


def migrate(_: argparse.Namespace) -> int:
    """Bring the database to the newest schema."""
    from infra.app import installation

    installation.migrate(installation.open_installation())
    say("The database is at the newest schema.")
    return 0


def secret_key(_: argparse.Namespace) -> int:
    """Print a new SEATLINE_SECRET_KEY."""
    say(Fernet.generate_key().decode())
    return 0


def client_create(arguments: argparse.Namespace) -> int:
    """Make an API client: how the first operator gets in."""
    from infra.app import administration
    from infra.app.installation import open_installation

    client_id, secret = asyncio.run(
        administration.create_client(open_installation(), arguments.name, arguments.role, arguments.tenant)
    )
    say(f"client_id      {client_id}")
    say(f"client_secret  {secret}")
    return 0


def person_invite(arguments: argparse.Namespace) -> int:
    """Invite somebody to sign in: how the first person gets in. Prints the link that goes by mail."""
    from infra.app import administration
    from infra.app.installation import open_installation

    say(
        asyncio.run(
            administration.invite_person(
                open_installation(),
                address=arguments.address,
                name=arguments.name,
                role=arguments.role,
                tenant_id=arguments.tenant,
                language=arguments.language,
            )
        )
    )
    return 0


def switchd(_: argparse.Namespace) -> int:
    """Supervise the cluster's nodes."""
    from infra.app import commands_switch
    from infra.app.installation import open_installation

    asyncio.run(commands_switch.switchd(open_installation()))
    return 0


def node_config(arguments: argparse.Namespace) -> int:
    """Write the complete FreeSWITCH configuration directory of a node."""
    from infra.app import commands_switch
    from infra.app.installation import open_installation

    files = asyncio.run(
        commands_switch.node_config(
            open_installation(),
            arguments.name,
            arguments.out,
            spool_directory=arguments.spool,
            control_networks=arguments.control_network,
            api_url=arguments.api_url,
            ca_file=arguments.ca_file,
            sip_tls=commands_switch.sip_tls_of(
                arguments.sip_tls_port, arguments.sip_tls_certificate, arguments.sip_tls_key
            ),
            limits=node_arguments.limits_of(arguments),
        )
    )
    say(f"{len(files)} files in {arguments.out}. Start it with: freeswitch -nonat -conf {arguments.out.absolute()}")
    return 0


def node_doctor(arguments: argparse.Namespace) -> int:
    """Examine a node: what is wrong with it, what was expected, what to do."""
    from infra.app import commands_switch
    from infra.app.installation import open_installation

    health = asyncio.run(commands_switch.node_doctor(open_installation(), arguments.name))
    for line in commands_switch.health_lines(health):
        say(line)
    return 1 if health.verdict == "error" else 0


def edge_config(arguments: argparse.Namespace) -> int:
    """Write the complete Kamailio configuration directory of a SIP edge."""
    from infra.app import commands_edge
    from infra.app.installation import open_installation

    options = commands_edge.EdgeOptions(
        listen_on=arguments.listen,
        advertised=arguments.advertise,
        tls_certificate=arguments.tls_certificate,
        tls_key=arguments.tls_key,
        requests_per_second=arguments.requests_per_second,
    )
    changed = asyncio.run(commands_edge.edge_config(open_installation(), arguments.name, arguments.out, options))
    say(f"{len(changed)} files changed. Start it with: kamailio -f {arguments.out.absolute()}/kamailio.cfg")
    return 0


def edge_follow(arguments: argparse.Namespace) -> int:
    """Keep a SIP edge's map of tenants and nodes true until it is told to end."""
    from infra.app import commands_edge
    from infra.app.installation import open_installation

    asyncio.run(commands_edge.edge_follow(open_installation(), arguments.directory, every_seconds=arguments.every))
    return 0


def srv_records(arguments: argparse.Namespace) -> int:
    """Print the DNS records by which phones find their nodes, as a zone fragment."""
    from infra.app import commands_edge
    from infra.app.installation import open_installation

    say(asyncio.run(commands_edge.srv_records(open_installation(), arguments.tenant)).rstrip())
    return 0


def cdr_import(arguments: argparse.Namespace) -> int:
    """Store the call records that a node could not deliver, from its spool directory."""
    from infra.app import commands_switch
    from infra.app.installation import open_installation

    done = asyncio.run(commands_switch.cdr_import(open_installation(), arguments.directory))
    say(f"{done.stored} stored, {done.known} known already, {done.set_aside} set aside.")
    if done.stray:
        say(f"{done.stray} refused calls of nobody's, only counted (GET /v1/stray-calls).")
    if done.unfinished or done.too_large:
        say(f"{done.unfinished} files still being written, {done.too_large} too large (renamed).")
    if done.unusable:
        say(f"{done.unusable} files or folders that the disk does not give up; the log names each.")
    return 1 if done.unusable else 0


def cdr_ship(arguments: argparse.Namespace) -> int:
    """On a node: send the call records that lie on its disk to the API."""
    from infra.app import commands_switch

    done = asyncio.run(commands_switch.cdr_ship(arguments.directory, every_seconds=arguments.every))
    say(f"{done.shipped} shipped, {done.left} left, {done.too_large} too large (renamed).")
    return 1 if done.left else 0


def gateway(arguments: argparse.Namespace) -> int:
    """On a VPN gateway: let in the seats that may call, count what they carry."""
    from infra.app import commands_gateway

    asyncio.run(
        commands_gateway.gateway(
            api_url=arguments.api,
            name=arguments.name,
            secret_file=arguments.secret_file,
            ca_file=arguments.ca_file,
            state_directory=arguments.state,
            interface=arguments.interface,
            listen_port=arguments.listen_port,
            report_every_seconds=arguments.report_every,
        )
    )
    return 0


def simulate(arguments: argparse.Namespace) -> int:
    """Run a simulated FreeSWITCH node from a configuration directory."""
    from infra.app import simulation

    return asyncio.run(simulation.run(arguments.directory))


def carrier_stand_in(arguments: argparse.Namespace) -> int:
    """Run a carrier on loopback that rings and answers every call, for trying things out."""
    from infra.app import simulation

    return asyncio.run(simulation.run_carrier(arguments.port))


def stripe_stand_in(arguments: argparse.Namespace) -> int:
    """Run a small Stripe for the demo and for trying things out."""
    from infra.app import simulation

    return asyncio.run(simulation.run_stripe(arguments.port))


def demo(arguments: argparse.Namespace) -> int:
    """Tell the whole story on a system made for it, then end it."""
    from infra.app.demo import run

    return run.demo(arguments.directory, arguments.switch)


def up(arguments: argparse.Namespace) -> int:
    """Tell the story and leave the system running; prints address and sign-in."""
    from infra.app.demo import run

    return run.up(arguments.directory, arguments.switch)


def down(arguments: argparse.Namespace) -> int:
    """End what `seatline up` left running."""
    from infra.app.demo import run

    return run.down(arguments.directory)


def quote(arguments: argparse.Namespace) -> int:
    """Work out a contract's invoices from a file of events."""
    from infra.app import calculators

    return calculators.quote_file(arguments.file)


def rate(arguments: argparse.Namespace) -> int:
    """Rate a file of calls with a deck."""
    from infra.app import calculators

    return calculators.rate_files(arguments.deck, arguments.calls)


def _processes(text: str) -> int:
    """How many processes; argparse shows what is wrong with it."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= MAX_PROCESSES):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MAX_PROCESSES}")
    return int(text)


def _seconds(text: str) -> int:
    """A pause in seconds; argparse shows what is wrong with it."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= MAX_PAUSE_SECONDS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 1 to {MAX_PAUSE_SECONDS}")
    return int(text)


def _port(text: str) -> int:
    """A port; argparse shows what is wrong with it."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= LAST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to {LAST_PORT}")
    return int(text)


def _add_gateway_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--api", required=True, metavar="URL", help="where the API is reached")
    command.add_argument("--name", required=True, help="as the gateway was made in the API")
    command.add_argument("--secret-file", type=Path, required=True, metavar="FILE", help="holds its secret")
    command.add_argument("--ca-file", type=Path, default=None, help="who vouches for an https API")
    command.add_argument("--state", type=Path, required=True, metavar="DIR", help="its key and counters; back it up")
    command.add_argument("--interface", default="wg-seats")
    command.add_argument("--listen-port", type=_port, default=51_820, metavar="PORT", help="UDP")
    command.add_argument("--report-every", type=_seconds, default=30, metavar="SECONDS")


def _add_invitation_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("address", metavar="MAIL")
    command.add_argument("--name", required=True)
    command.add_argument("--role", required=True)
    command.add_argument("--tenant", default=None, help="tenant id, for the tenant roles")
    command.add_argument("--language", default="zh", help="zh or en")


def _add_edge_commands(add: Callable[[str, Command], argparse.ArgumentParser]) -> None:
    edge = add("edge-config", edge_config)
    edge.add_argument("name", metavar="NAME")
    edge.add_argument("--out", type=Path, required=True, metavar="DIR")
    edge.add_argument("--listen", default=None, metavar="ADDRESS", help="what it binds; default: the edge's host")
    edge.add_argument("--advertise", default=None, metavar="HOST", help="what others call it, where that differs")
    edge.add_argument("--tls-certificate", type=Path, default=None, help="on the edge: chain, PEM")
    edge.add_argument("--tls-key", type=Path, default=None, help="on the edge: its key; default: in the same file")
    edge.add_argument("--requests-per-second", type=int, default=200, help="that one address may send")
    following = add("edge-follow", edge_follow)
    following.add_argument("directory", type=Path, metavar="DIR", help="what edge-config wrote")
    following.add_argument("--every", type=_seconds, default=2, metavar="SECONDS")
    add("srv-records", srv_records).add_argument("--tenant", default=None, help="tenant id; default: all")


def _add_stand_ins(add: Callable[[str, Command], argparse.ArgumentParser]) -> None:
    add("simulate", simulate).add_argument("directory", type=Path, metavar="DIR")
    add("carrier-stand-in", carrier_stand_in).add_argument("--port", type=_port, default=5090)
    add("stripe-stand-in", stripe_stand_in).add_argument("--port", type=_port, default=8390)
    for name, function in (("demo", demo), ("up", up), ("down", down)):
        showing = add(name, function)
        showing.add_argument("--directory", type=Path, default=Path("var/demo"))
        if function is not down:
            showing.add_argument("--switch", choices=("simulator", "freeswitch"), default="simulator")


def build_parser() -> argparse.ArgumentParser:
    """Every sub-command with its arguments."""
    parser = argparse.ArgumentParser(prog="seatline", description="Rents out call-centre seats on FreeSWITCH.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, function: Command) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=(function.__doc__ or "").strip().splitlines()[0])
        command.set_defaults(function=function)
        return command

    add("serve", serve).add_argument("--workers", type=_processes, default=1, help="API processes")
    add("worker", worker)
    add("migrate", migrate)
    add("secret-key", secret_key)
    creating = add("client-create", client_create)
    creating.add_argument("--name", required=True)
    creating.add_argument("--role", required=True)
    creating.add_argument("--tenant", default=None, help="tenant id, for the tenant roles")
    _add_invitation_arguments(add("person-invite", person_invite))
    add("switchd", switchd)
    node_arguments.add_to(add("node-config", node_config), port=_port)
    examining = add("node", node_doctor).add_subparsers(dest="node_command", required=True, metavar="COMMAND")
    examining.add_parser("doctor", help="examine a node; exit code 1: errors").add_argument("name", metavar="NAME")
    _add_edge_commands(add)
    add("cdr-import", cdr_import).add_argument("directory", type=Path, metavar="DIR")
    records = commands.add_parser("cdr", help="Call records on a node's disk.")
    of_records = records.add_subparsers(dest="cdr_command", required=True, metavar="COMMAND")
    importing = of_records.add_parser("import", help="Store those below a spool directory in the database.")
    importing.add_argument("directory", type=Path, metavar="DIR")
    importing.set_defaults(function=cdr_import)
    shipping = of_records.add_parser("ship", help="On a node: send those on its disk to the API.")
    shipping.add_argument("directory", type=Path, metavar="CONF", help="the node's configuration directory")
    shipping.add_argument("--every", type=_seconds, default=None, metavar="SECONDS", help="again and again")
    shipping.set_defaults(function=cdr_ship)
    _add_gateway_arguments(add("gateway", gateway))
    _add_stand_ins(add)
    add("quote", quote).add_argument("file", type=Path, metavar="FILE")
    rating = add("rate", rate)
    rating.add_argument("deck", type=Path, metavar="DECK")
    rating.add_argument("calls", type=Path, metavar="CALLS")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; every refusal is one line on standard error, exit code 2."""
    arguments = build_parser().parse_args(argv)
    try:
        return arguments.function(arguments)
    except (SettingRefused, EmbeddedPostgresError, Refusal) as refusal:
        complain(str(refusal))
        return USAGE_ERROR
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
