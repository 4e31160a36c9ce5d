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
/// <param name="Expires">When it ends, in seconds of Unix time.</param>
public sealed record RemoteCookie(string Domain, string Path, string Name, string Value, long Expires);

/// <summary>The file <c>REMOTE.cookies.txt</c> in a repository: one cookie a line, seven fields between tabs, as curl and Netscape have them.</summary>
internal static class CookieFile
{
    private const int Fields = 7;
    private static readonly TimeSpan Life = TimeSpan.FromDays(365 * 25); // as libostree gives them

    public static string NameOf(string remote) => $"{remote}.cookies.txt";

    /// <summary>Reads such a file; lines that are no cookies (comments) are passed over.</summary>
    public static IReadOnlyList<RemoteCookie> Read(Repository repository, string remote) =>
        repository.Dir.TryReadAll(NameOf(remote)) is { } bytes ? Parse(Encoding.UTF8.GetString(bytes)) : [];

    public static IReadOnlyList<RemoteCookie> Parse(string text)
    {
        var cookies = new List<RemoteCookie>();
        foreach (string line in text.Split('\n'))
        {
            string[] fields = line.TrimEnd('\r').Split('\t');
            if (fields.Length == Fields && long.TryParse(fields[4], CultureInfo.InvariantCulture, out long expires))
                cookies.Add(new RemoteCookie(fields[0], fields[2], fields[5], fields[6], expires));
        }

        return cookies;
    }

    public static void Write(Repository repository, string remote, IEnumerable<RemoteCookie> cookies)
    {
        var text = new StringBuilder();
        foreach (RemoteCookie cookie in cookies)
        {
            string below = cookie.Domain.StartsWith('.') ? "TRUE" : "FALSE";
            text.Append(CultureInfo.InvariantCulture, $"{cookie.Domain}\t{below}\t{cookie.Path}\tFALSE\t{cookie.Expires}\t{cookie.Name}\t{cookie.Value}\n");
        }

        Durable.Replace(repository.Dir, NameOf(remote), Encoding.UTF8.GetBytes(text.ToString()));
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

    /// <summary>The cookies as the class library sends them: to their hosts only, wherever a server redirects to. Null where there are none.</summary>
    public static CookieContainer? Container(IReadOnlyList<RemoteCookie> cookies)
    {
        if (cookies.Count == 0)
            return null;
        var container = new CookieContainer();
        foreach (RemoteCookie cookie in cookies)
        {
            try
            {
                container.Add(new Cookie(cookie.Name, cookie.Value, cookie.Path, cookie.Domain));
            }
            catch (Exception refused) when (refused is CookieException or ArgumentException)
            {
                throw new MalformedException("cookie", cookie.Name, "a cookie that HTTP can carry", refused.Message);
            }
        }

        return container;
    }
}
