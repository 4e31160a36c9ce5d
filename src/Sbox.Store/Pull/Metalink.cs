using System.Security.Cryptography;
using System.Xml;
using System.Xml.Linq;

namespace Sbox.Store;

/// <summary>Where a file can be had, and how it is known to be the right one.</summary>
/// <param name="Size">Its bytes.</param>
/// <param name="Algorithm">SHA-512 where the document has it, else SHA-256.</param>
/// <param name="Digest">Its digest, in lower-case hexadecimal digits.</param>
/// <param name="Urls">Its addresses, the preferred one first.</param>
/// <remarks>Metalink 3.0, as far as libostree reads it: one file's size, hashes and addresses with http or https; what is none is passed over.</remarks>
internal sealed record Metalink(long Size, HashAlgorithmName Algorithm, string Digest, IReadOnlyList<string> Urls)
{
    private const string Format = "metalink";

    /// <summary>Reads what a document says of one file.</summary>
    /// <param name="document">XML.</param>
    /// <param name="fileName">The file.</param>
    /// <exception cref="Codecs.MalformedException">It is no such document, or says too little to trust the file by.</exception>
    public static Metalink Parse(byte[] document, string fileName)
    {
        XElement file = Load(document).Descendants().FirstOrDefault(each => each.Name.LocalName == "file" && (string?)each.Attribute("name") == fileName) ??
            throw new Codecs.MalformedException(Format, "file", $"one named '{fileName}'", "none");
        if (!long.TryParse(Child(file, "size")?.Value.Trim(), System.Globalization.CultureInfo.InvariantCulture, out long size) || size < 0)
            throw new Codecs.MalformedException(Format, "size", "a number", $"'{Child(file, "size")?.Value}'");
        string[] urls = [.. (Child(file, "resources")?.Elements() ?? [])
            .Where(static each => each.Name.LocalName == "url" && (string?)each.Attribute("protocol") is "http" or "https"
                && Uri.TryCreate(each.Value.Trim(), UriKind.Absolute, out Uri? address) && (address.Scheme == Uri.UriSchemeHttp || address.Scheme == Uri.UriSchemeHttps))
            .OrderByDescending(static each => int.TryParse((string?)each.Attribute("preference"), out int preference) ? preference : 0)
            .Select(static each => each.Value.Trim())];
        (HashAlgorithmName algorithm, string digest) = Strongest(file);
        return urls.Length > 0
            ? new Metalink(size, algorithm, digest, urls)
            : throw new Codecs.MalformedException(Format, "resources", "an address", "No <url> method='http' elements found");
    }

    /// <summary>Whether these are the file's bytes.</summary>
    /// <returns>What is wrong; null where they are.</returns>
    public string? Finding(byte[] bytes)
    {
        if (bytes.Length != Size)
            return $"Expected size is {Size} bytes but content is {bytes.Length} bytes";
        string found = Convert.ToHexStringLower(Algorithm == HashAlgorithmName.SHA512 ? SHA512.HashData(bytes) : SHA256.HashData(bytes));
        return found == Digest ? null : $"Expected checksum is {Digest} but actual is {found}";
    }

    private static (HashAlgorithmName Algorithm, string Digest) Strongest(XElement file)
    {
        XElement[] hashes = [.. (Child(file, "verification")?.Elements() ?? []).Where(static each => each.Name.LocalName == "hash")];
        foreach ((string type, HashAlgorithmName algorithm, int digits) in ((string, HashAlgorithmName, int)[])[("sha512", HashAlgorithmName.SHA512, 128), ("sha256", HashAlgorithmName.SHA256, 64)])
        {
            if (hashes.FirstOrDefault(each => (string?)each.Attribute("type") == type)?.Value.Trim().ToLowerInvariant() is not { } digest)
                continue;
            return digest.Length == digits && !digest.AsSpan().ContainsAnyExcept("0123456789abcdef")
                ? (algorithm, digest)
                : throw new Codecs.MalformedException(Format, "hash", $"{digits} hexadecimal digits", $"Invalid hash digest for {type}");
        }

        throw new Codecs.MalformedException(Format, "verification", "a hash of type sha256 or sha512", "No <verification> element with known <hash> types found");
    }

    private static XElement? Child(XElement parent, string name) => parent.Elements().FirstOrDefault(each => each.Name.LocalName == name);

    private static XDocument Load(byte[] document)
    {
        try
        {
            // No document type: entities that grow without end, or name files, are not for a list of mirrors.
            using var reader = XmlReader.Create(new MemoryStream(document), new XmlReaderSettings { DtdProcessing = DtdProcessing.Prohibit, XmlResolver = null });
            return XDocument.Load(reader);
        }
        catch (XmlException broken)
        {
            string finding = broken.LineNumber <= 1 && broken.Message.Contains("root", StringComparison.OrdinalIgnoreCase) ? "Document must begin with an element" : broken.Message;
            throw new Codecs.MalformedException(Format, "document", "XML", finding);
        }
    }
}
