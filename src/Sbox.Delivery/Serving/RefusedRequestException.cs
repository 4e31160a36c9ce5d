namespace Sbox.Delivery;

/// <summary>Why a request is not answered with a file.</summary>
/// <param name="status">The status that says so.</param>
/// <param name="finding">What is wrong with it.</param>
internal sealed class RefusedRequestException(int status, string finding) : DeliveryException(finding)
{
    /// <summary>The status that says so.</summary>
    public int Status { get; } = status;

    /// <summary>What the header Content-Range says of a file that has none of the bytes asked for; null with other findings.</summary>
    public string? ContentRange { get; init; }

    /// <summary>What the client is not told: paths of the server. Null for nothing.</summary>
    public string? Hidden { get; init; }

    /// <summary>Whether the connection ends with it: what follows a request that was not understood may be its body.</summary>
    public bool HangsUp { get; init; }
}
