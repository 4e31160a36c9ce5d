using System.CommandLine;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
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
        var certificate = new Option<string>("--tls-cert") { Description = "Speak TLS by this certificate; behind it in the file, those between it and its authority (PEM)", HelpName = "FILE" };
        var key = new Option<string>("--tls-key") { Description = "The key of --tls-cert (PEM, without a password); the certificate's own file unless told", HelpName = "FILE" };
        var verbose = new Option<bool>("--verbose") { Description = "Say each request on stderr" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("serve", "Serve a repository over HTTP, read-only")
        {
            Details =
            [
                "Only what readers of a repository need is served: its config, summary, branches, objects and deltas. Ranges, conditional requests and connections that stay open are answered, so what was cut short goes on where it was. "
                + "HTTP/1.1 and HTTP/2 are spoken at the same port: the latter with whoever begins with it (a remote with sbox-http2-cleartext=true, curl --http2-prior-knowledge) and, with --tls-cert, with whoever agrees on it, as ostree does.",
                "Nothing is encrypted without --tls-cert, and need not be: readers hash every object and believe signatures only (sbox-publish(1) makes them). With one, readers of a private authority say tls-ca-path=FILE of their remote; the certificate is read once, at the start.",
                "Without --listen only this machine is answered. It ends by Ctrl-C. For many readers, or over the internet, publish to a web server or a bucket.",
            ],
            Examples =
            [
                new Example("For all boxes in the house", "sbox publish --repo R --to /srv/boxes --keys keys && sbox serve --repo /srv/boxes --listen 0.0.0.0:8420"),
                new Example("The same by TLS, and so by HTTP/2 with stock ostree too", "sbox serve --repo /srv/boxes --listen 0.0.0.0:8443 --tls-cert house.crt --tls-key house.key"),
            ],
        }.With(repo, listen, certificate, key, verbose, json);
        command.SetAction(async (parsed, cancel) =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            var options = new ServeOptions { Certificates = Certificates(parsed.GetValue(certificate), parsed.GetValue(key)) };
            using RepositoryServer server = Listen(parsed.GetValue(repo)!, parsed.GetValue(listen)!, options, parsed.GetValue(verbose) ? new Reporter<ServedRequest>(Log) : null);
            string url = $"{(server.IsEncrypted ? "https" : "http")}://{server.Endpoint}/";
            speaker.Answer($"{parsed.GetValue(repo)} is served at {url}", writer =>
            {
                writer.WriteString("repository", parsed.GetValue(repo));
                writer.WriteString("url", url);
            });
            await server.Run(cancel);
            return 0;
        });
        return command;
    }

    private static RepositoryServer Listen(string repository, string address, ServeOptions options, IProgress<ServedRequest>? log)
    {
        if (!IPEndPoint.TryParse(address, out IPEndPoint? endpoint))
            throw new Finding($"--listen={address}: no address and port", $"--listen=127.0.0.1:{UsualPort}, --listen=0.0.0.0:{UsualPort}, --listen=[::]:{UsualPort}");
        try
        {
            return new RepositoryServer(repository, endpoint, options, log);
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

    // The first has the key; those behind it are sent along.
    private static X509Certificate2Collection Certificates(string? certificate, string? key)
    {
        if (certificate is null)
            return key is null ? [] : throw new Finding($"--tls-key={key}: a key without a certificate", "Name its certificate: --tls-cert FILE");
        try
        {
            var chain = new X509Certificate2Collection();
            chain.ImportFromPemFile(certificate);
            return [X509Certificate2.CreateFromPemFile(certificate, key ?? certificate), .. chain.Skip(1)];
        }
        catch (Exception unread) when (unread is CryptographicException or ArgumentException)
        {
            throw new Finding($"{certificate}{(key is null ? "" : $" and {key}")}: {unread.Message}", "The files are PEM: a certificate, and its key without a password (openssl req -x509 -nodes -newkey rsa:2048 ... makes both)");
        }
    }

    private static void Log(ServedRequest request) => Console.Error.WriteLine(
        string.Create(CultureInfo.InvariantCulture, $"{request.Client} {request.Protocol} {request.Status} {request.Bytes} {string.Concat(request.Path.Select(static letter => char.IsControl(letter) ? '?' : letter))}{(request.Finding is { } finding ? $": {finding}" : "")}"));
}
