using System.Globalization;
using System.Net;
using System.Text;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>A cookie that a remote's server asks for.</summary>
/// <param name="Domain">The host it is sent to; with a dot before it, also to those below.</param>
/// <param name="Path">The paths it is sent with.</param>
/// <param name="Name">Its name.</param>
/// <param name="Value">Its value.</param>
/// <param name="Expires">When it ends, in seconds of Unix time; 0 for never.</param>
public sealed record RemoteCookie(string Domain, string Path, string Name, string Value, long Expires)
{
    /// <summary>Whether it is sent over TLS only.</summary>
    public bool Secure { get; init; }
}

/// <summary>The file <c>REMOTE.cookies.txt</c> in a repository: one cookie a line, seven fields between tabs, as curl and Netscape have them.</summary>
internal static class CookieFile
{
    private const int Fields = 7;
    private const string HttpOnly = "#HttpOnly_"; // a cookie, and no comment: browsers' scripts alone shall not see it
    private static readonly TimeSpan Life = TimeSpan.FromDays(365 * 25); // as libostree gives them

    public static string NameOf(string remote) => $"{remote}.cookies.txt";

    /// <summary>Reads such a file; lines that are no cookies (comments) are passed over.</summary>
    public static IReadOnlyList<RemoteCookie> Read(Repository repository, string remote) =>
        repository.Dir.TryReadAll(NameOf(remote)) is { } bytes ? Parse(Encoding.UTF8.GetString(bytes)) : [];

    public static IReadOnlyList<RemoteCookie> Parse(string text) => [.. text.Split('\n').Select(ParseLine).OfType<RemoteCookie>()];

    /// <summary>Takes cookies out and adds one; all other lines stay as they are. For the repository's owner alone: it lets in whoever has it.</summary>
    public static void Change(Repository repository, string remote, Func<RemoteCookie, bool> remove, RemoteCookie? added)
    {
        string old = repository.Dir.TryReadAll(NameOf(remote)) is { } bytes ? Encoding.UTF8.GetString(bytes) : "";
        var text = new StringBuilder();
        foreach (string line in old.Split('\n').Where(line => line.Length > 0 && !(ParseLine(line) is { } cookie && remove(cookie))))
            text.Append(line).Append('\n');
        if (added is not null)
        {
            string below = added.Domain.StartsWith('.') ? "TRUE" : "FALSE", secure = added.Secure ? "TRUE" : "FALSE";
            text.Append(CultureInfo.InvariantCulture, $"{added.Domain}\t{below}\t{added.Path}\t{secure}\t{added.Expires}\t{added.Name}\t{added.Value}\n");
        }

        Durable.Replace(repository.Dir, NameOf(remote), Encoding.UTF8.GetBytes(text.ToString()), 0x180 /* 0600 */);
    }

    private static RemoteCookie? ParseLine(string line)
    {
        string text = line.StartsWith(HttpOnly, StringComparison.Ordinal) ? line[HttpOnly.Length..] : line;
        string[] fields = text.TrimEnd('\r').Split('\t');
        return fields.Length == Fields && text[0] != '#' && long.TryParse(fields[4], CultureInfo.InvariantCulture, out long expires)
            ? new RemoteCookie(fields[0], fields[2], fields[5], fields[6], expires) { Secure = fields[3].Equals("TRUE", StringComparison.OrdinalIgnoreCase) }
            : null;
    }

    /// <summary>One that lasts as long as libostree's do.</summary>
    /// <exception cref="MalformedException">A field has what would end it in the file.</exception>
    public static RemoteCookie Make(string domain, string path, string name, string value, DateTimeOffset now)
    {
        foreach (string field in (string[])[domain, path, name, value])
        {
            if (field.AsSpan().ContainsAny("\t\n\r"))
                throw new MalformedException("cookie", "field", "no tab and no line feed", $"'{field}'");
        }

        return new RemoteCookie(domain, path, name, value, (now + Life).ToUnixTimeSeconds());
    }

    /// <summary>
    /// The cookies as the class library sends them: to their hosts only, wherever a server redirects to, and secure ones over TLS only.
    /// Null where there are none that have not ended.
    /// </summary>
    public static CookieContainer? Container(IReadOnlyList<RemoteCookie> cookies, DateTimeOffset now)
    {
        RemoteCookie[] lasting = [.. cookies.Where(each => each.Expires == 0 || each.Expires > now.ToUnixTimeSeconds())];
        if (lasting.Length == 0)
            return null;
        var container = new CookieContainer();
        foreach (RemoteCookie cookie in lasting)
        {
            try
            {
                container.Add(new Cookie(cookie.Name, cookie.Value, cookie.Path, cookie.Domain) { Secure = cookie.Secure });
            }
            catch (Exception refused) when (refused is CookieException or ArgumentException)
            {
                throw new MalformedException("cookie", cookie.Name, "a cookie that HTTP can carry", refused.Message);
            }
        }

        return container;
    }
}
