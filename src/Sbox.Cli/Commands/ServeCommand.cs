using System.CommandLine;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Delivery;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox serve</c>: a repository over HTTP, for a network at home or a test.</summary>
internal static class ServeCommand
{
    private const int UsualPort = 8420;

    public static Command Make()
    {
        var repo = new Option<string>("--repo") { Description = "The repository, in mode archive", HelpName = "PATH", Required = true };
        var listen = new Option<string>("--listen") { Description = "Address and port to listen on; port 0 takes any that is free", HelpName = "ADDRESS:PORT", DefaultValueFactory = static _ => $"127.0.0.1:{UsualPort}" };
        var verbose = new Option<bool>("--verbose") { Description = "Say each request on stderr" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("serve", "Serve a repository over HTTP, read-only")
        {
            Details =
            [
                "Only what readers of a repository need is served: its config, summary, branches, objects and deltas. Ranges, conditional requests and connections that stay open are answered, so what was cut short goes on where it was. "
                + "It speaks HTTP/1.1 without encryption, and no HTTP/2: readers hash every object, believe signatures only (sbox-publish(1) makes them), and make more connections where a server is far.",
                "Without --listen only this machine is answered. It ends by Ctrl-C. For many readers, over the internet or by HTTP/2, publish to a web server or a bucket.",
            ],
            Examples = [new Example("For all boxes in the house", "sbox publish --repo R --to /srv/boxes --keys keys && sbox serve --repo /srv/boxes --listen 0.0.0.0:8420")],
        }.With(repo, listen, verbose, json);
        command.SetAction(async (parsed, cancel) =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            using RepositoryServer server = Listen(parsed.GetValue(repo)!, parsed.GetValue(listen)!, parsed.GetValue(verbose) ? new Reporter<ServedRequest>(Log) : null);
            speaker.Answer($"{parsed.GetValue(repo)} is served at http://{server.Endpoint}/", writer =>
            {
                writer.WriteString("repository", parsed.GetValue(repo));
                writer.WriteString("url", $"http://{server.Endpoint}/");
            });
            await server.Run(cancel);
            return 0;
        });
        return command;
    }

    private static RepositoryServer Listen(string repository, string address, IProgress<ServedRequest>? log)
    {
        if (!IPEndPoint.TryParse(address, out IPEndPoint? endpoint))
            throw new Finding($"--listen={address}: no address and port", $"--listen=127.0.0.1:{UsualPort}, --listen=0.0.0.0:{UsualPort}, --listen=[::]:{UsualPort}");
        try
        {
            return new RepositoryServer(repository, endpoint, options: null, log);
        }
        catch (SocketException taken)
        {
            throw new Finding($"{endpoint}: {taken.Message}", "Name another address or port with --listen");
        }
        catch (PlaceUnfitException unfit)
        {
            throw new Finding(unfit.Message, $"Publish it, and serve that: sbox publish --repo {repository} --to DIRECTORY");
        }
    }

    private static void Log(ServedRequest request) => Console.Error.WriteLine(
        string.Create(CultureInfo.InvariantCulture, $"{request.Client} {request.Status} {request.Bytes} {string.Concat(request.Path.Select(static letter => char.IsControl(letter) ? '?' : letter))}"));
}
