using System.Globalization;
using System.Text;
using System.Text.Json;
using Sbox.Codecs;

namespace Sbox.Tomb;

/// <summary>The file <c>config</c>: what a repository is.</summary>
/// <param name="Version">1 or 2; we write 2, and read both.</param>
/// <param name="Id">Names the repository, wherever it is kept.</param>
/// <param name="ChunkerPolynomial">What its files are cut by: irreducible, degree 53.</param>
public sealed record RepositoryConfig(int Version, Checksum Id, ulong ChunkerPolynomial)
{
    private const string Format = "restic config";

    /// <summary>Reads the JSON.</summary>
    /// <exception cref="MalformedException">It is none, or of a version that is not known.</exception>
    public static RepositoryConfig Parse(ReadOnlySpan<byte> json)
    {
        RepositoryConfig config = JsonFields.Read(json, Format, static (ref Utf8JsonReader reader) =>
        {
            ulong version = 0;
            Checksum? id = null;
            string polynomial = "";
            JsonFields.Object(ref reader);
            while (JsonFields.Next(ref reader))
            {
                if (reader.ValueTextEquals("version"u8))
                    version = JsonFields.Number(ref reader);
                else if (reader.ValueTextEquals("id"u8))
                    id = JsonFields.Id(ref reader);
                else if (reader.ValueTextEquals("chunker_polynomial"u8))
                    polynomial = JsonFields.Text(ref reader);
                else
                    JsonFields.Skip(ref reader);
            }

            return new RepositoryConfig(
                version <= int.MaxValue ? (int)version : 0, id ?? throw new MalformedException(Format, "id", "an id", "none"),
                ulong.TryParse(polynomial, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong value) ? value : 0);
        });
        if (config.Version is not (1 or 2))
            throw new MalformedException(Format, "version", "1 or 2", $"{config.Version}");
        return Chunking.Polynomial.IsUsable(config.ChunkerPolynomial)
            ? config
            : throw new MalformedException(Format, "chunker_polynomial", "an irreducible polynomial of degree 53", $"{config.ChunkerPolynomial:x}");
    }

    /// <summary>The JSON that restic would write.</summary>
    public byte[] ToBytes() => Encoding.ASCII.GetBytes($"{{\"version\":{Version},\"id\":\"{Id}\",\"chunker_polynomial\":\"{ChunkerPolynomial:x}\"}}");
}
