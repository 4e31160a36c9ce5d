using System.CommandLine;
using System.Globalization;
using Sbox.Cli.Help;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>The commands of <c>remote</c> that are about a remote's server: its cookies, its refs, its summary.</summary>
internal static class RemoteServerCommands
{
    private const long LastSecond = 253402300799; // of the year 9999
    private const string CookieTime = "yyyy-MM-dd HH:mm:ss +0000";

    public static Command AddCookie()
    {
        (Argument<string> name, Argument<string> domain, Argument<string> path, Argument<string> cookie) = CookieArguments();
        var value = new Argument<string>("VALUE") { Description = "Its value" };
        return new DocumentedCommand("add-cookie", "Add a cookie that is sent to a remote's server").With(name, domain, path, cookie, value).OnRepository((parsed, repository, _) =>
        {
            repository.AddCookie(parsed.GetValue(name)!, parsed.GetValue(domain)!, parsed.GetValue(path)!, parsed.GetValue(cookie)!, parsed.GetValue(value)!);
            return 0;
        });
    }

    public static Command DeleteCookie()
    {
        (Argument<string> name, Argument<string> domain, Argument<string> path, Argument<string> cookie) = CookieArguments();
        var more = new Argument<string[]>("MORE") { Description = "Nothing: ostree takes its value too, and does not heed it", Arity = ArgumentArity.ZeroOrMore, Hidden = true };
        return new DocumentedCommand("delete-cookie", "Take a remote's cookie away").With(name, domain, path, cookie, more).OnRepository((parsed, repository, _) =>
            repository.DeleteCookie(parsed.GetValue(name)!, parsed.GetValue(domain)!, parsed.GetValue(path)!, parsed.GetValue(cookie)!)
                ? 0
                : throw new Finding("Cookie not found in jar", "remote list-cookies shows those that there are"));
    }

    public static Command ListCookies()
    {
        Argument<string> name = Remote();
        return new DocumentedCommand("list-cookies", "Show a remote's cookies").With(name).OnRepository((parsed, repository, _) =>
        {
            foreach (RemoteCookie cookie in repository.Cookies(parsed.GetValue(name)!))
            {
                string expires = DateTimeOffset.FromUnixTimeSeconds(Math.Clamp(cookie.Expires, 0, LastSecond)).ToString(CookieTime, CultureInfo.InvariantCulture);
                Console.Out.Write($"--\nDomain: {cookie.Domain}\nPath: {cookie.Path}\nName: {cookie.Name}\nSecure: {(cookie.Secure ? "yes" : "no")}\nExpires: {expires}\nValue: {cookie.Value}\n");
            }

            return 0;
        });
    }

    public static Command Refs()
    {
        Argument<string> name = Remote();
        var revisions = new Option<bool>("--revision", "-r") { Description = "Show what each ref leads to" };
        Option<string?> cache = PullHow.CacheDirectory();
        return new DocumentedCommand("refs", "List the refs that a remote has").With(name, revisions, cache).OnRepository(async (parsed, repository, cancel) =>
        {
            string remote = parsed.GetValue(name)!;
            (byte[] bytes, _) = await Fetch(repository, remote, parsed.GetValue(cache), cancel);
            foreach ((string branch, Checksum target) in Store.Summary.Parse(bytes).Refs)
            {
                Console.Out.WriteLine(parsed.GetValue(revisions) ? $"{remote}:{branch}\t{target}" : $"{remote}:{branch}");
                JsonAnswers.Say(writer =>
                {
                    writer.WriteString("ref", $"{remote}:{branch}");
                    writer.WriteString("commit", $"{target}");
                });
            }

            return 0;
        });
    }

    public static Command Summary()
    {
        Argument<string> name = Remote();
        var raw = new Option<bool>("--raw") { Description = "Show the summary as a GVariant in text form" };
        var keys = new Option<bool>("--list-metadata-keys") { Description = "List the names in the summary's metadata" };
        var key = new Option<string?>("--print-metadata-key") { Description = "Print one value of the summary's metadata", HelpName = "KEY" };
        Option<string?> cache = PullHow.CacheDirectory();
        return new DocumentedCommand("summary", "Show a remote's summary").With(name, raw, keys, key, cache).OnRepository(async (parsed, repository, cancel) =>
        {
            string remote = parsed.GetValue(name)!;
            (byte[] bytes, byte[]? signature) = await Fetch(repository, remote, parsed.GetValue(cache), cancel);
            RemoteSettings settings = repository.Remote(remote)!;
            string? signatures = settings.GpgVerifySummary
                ? SigningCommands.Describe(repository.GpgSummarySignatures(bytes, signature, remote)).Replace("Found", "GPG: Verification enabled, found", StringComparison.Ordinal)
                : null;
            Console.Out.Write(SummaryCommand.Show(bytes, parsed.GetValue(raw), parsed.GetValue(keys), parsed.GetValue(key), signatures));
            return 0;
        });
    }

    private static async Task<(byte[] Summary, byte[]? Signature)> Fetch(Repository repository, string remote, string? cache, CancellationToken cancel)
    {
        (byte[]? bytes, byte[]? signature) = await repository.FetchSummary(remote, new PullOptions { CacheDirectory = cache }, cancel);
        return bytes is null ? throw new Finding("Remote refs not available; server has no summary file", "whoever serves it writes one with summary --update") : (bytes, signature);
    }

    private static Argument<string> Remote() => new("NAME") { Description = "The remote" };

    private static (Argument<string> Remote, Argument<string> Domain, Argument<string> Path, Argument<string> Name) CookieArguments() => (
        Remote(),
        new Argument<string>("DOMAIN") { Description = "The host it is sent to" },
        new Argument<string>("PATH") { Description = "The paths it is sent with; / for all" },
        new Argument<string>("COOKIE_NAME") { Description = "Its name" });
}
